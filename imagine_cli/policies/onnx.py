"""Policies in ONNX files, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError, require
from imagine_cli.policies.actions import sizes
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.exported import as_codes
from imagine_cli.policies.pointwise import PointPolicy

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class OnnxPolicy(PointPolicy):
    """A graph from observations ``(1, D)`` to actions, as an ``ExportedPolicy`` gives them.

    It has no derivative here: at a belief it acts as at the mean, with no variance. Each
    observation is run by itself, which suits graphs of one, and what it gives depends on no other.
    """

    def __init__(self, content: bytes, env: EnvDescription) -> None:
        require("onnx", "onnx", "onnxruntime")
        import onnx
        import onnxruntime

        super().__init__()
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self._choices = list(env.choices)
        if _is_elsewhere(onnx.load_model_from_string(content)):
            raise InputError("it keeps tensors in other files, which are not opened")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        outputs = [each.name for each in self._session.get_outputs()]
        named = [name for name in outputs if name in ("action", "actions")] or outputs
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(named) != 1:
            given = [f"{each.name} {each.type}" for each in inputs]
            raise InputError(
                f"it takes {given} and gives {outputs}, not real observations and the action alone"
            )
        self._input, self._output = inputs[0], named[0]

    def respond(self, observation: Belief) -> ActionBelief:
        return ActionBelief(self.respond_at(observation.mean))

    def respond_at(self, x: Tensor) -> Tensor:
        rows = x.detach().cpu().numpy().astype(_TYPES[self._input.type])
        name, run = self._input.name, self._session.run
        found = [run([self._output], {name: row[None]})[0] for row in rows]
        u = torch.from_numpy(np.stack(found).reshape(len(rows), -1)).to(x.device)
        return as_codes(u, self._choices).to(x.dtype)


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


def make(argument: str, context: PolicyContext) -> OnnxPolicy:
    """A path ending in .onnx."""
    path, about = Path(argument), sizes(context.env)
    if not path.is_file():
        raise InputError(f"the policy {argument} is not a regular file; name an .onnx file")
    try:
        policy = OnnxPolicy(path.read_bytes(), context.env)
        shape = tuple(policy.respond_at(torch.zeros(2, context.env.observation_size)).shape)
    except InputError as error:
        raise InputError(f"the policy {argument} can't be used: {error}") from error
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"the policy {argument} can't be used: {reason} ({about})") from error
    if shape[1] != context.env.action_size:
        raise InputError(f"the policy {argument} gives actions {shape[1:]}, but {about}")
    return policy
