"""ONNX graphs from strangers, run by onnxruntime a row at a time, on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.errors import InputError, require

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class OnnxGraph:
    """A graph from rows ``(1, size)`` of real numbers.

    Each row is run by itself, which suits graphs of one, and what it gives depends on no other.
    It has no derivative.

    Attributes:
        inputs: each one's shape, by name; ``outputs`` names.
        dtype: of its numbers.

    Raises:
        MissingExtraError: the extra "onnx" is not installed.
        InputError: a graph that names other files, or takes anything but real numbers. What
            onnxruntime makes of a file of arbitrary bytes is any exception at all.
    """

    def __init__(self, content: bytes) -> None:
        require("onnx", "onnx", "onnxruntime")
        import onnx
        import onnxruntime

        if _is_elsewhere(onnx.load_model_from_string(content)):
            raise InputError("it keeps tensors in other files, which are not opened")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        given = self._session.get_inputs()
        self.inputs: dict[str, list[Any]] = {each.name: each.shape for each in given}
        self.outputs: list[str] = [each.name for each in self._session.get_outputs()]
        kinds = {each.type for each in given}
        if len(kinds) != 1 or not kinds <= set(_TYPES):
            raise InputError(f"it takes {sorted(kinds)}, not real numbers of one type")
        self._type = _TYPES[kinds.pop()]
        self.dtype = torch.float32 if self._type is np.float32 else torch.float64

    def __deepcopy__(self, memo: Any) -> OnnxGraph:
        return self  # nothing in it changes

    def run(self, outputs: Sequence[str], given: Mapping[str, Tensor]) -> list[Tensor]:
        """Outputs ``(N, ...)`` of inputs ``(N, size)``, N not 0."""
        arrays = {k: each.detach().cpu().numpy().astype(self._type) for k, each in given.items()}
        found = [
            self._session.run(list(outputs), {k: part[n : n + 1] for k, part in arrays.items()})
            for n in range(len(next(iter(arrays.values()))))
        ]
        device = next(iter(given.values())).device
        return [torch.from_numpy(np.stack(each)).to(device) for each in zip(*found, strict=True)]


def _is_elsewhere(message: Any) -> bool:
    """Whether any tensor in a message of protobuf is in another file."""
    if message.DESCRIPTOR.name == "TensorProto" and (
        message.external_data or message.data_location
    ):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                if hasattr(part, "DESCRIPTOR") and _is_elsewhere(part):
                    return True
    return False
