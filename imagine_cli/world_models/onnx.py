"""World models in ONNX files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional
from imagine_cli.world_models.onnx_graph import OnnxGraph
from imagine_cli.world_models.output_keys import as_conditional, output_names, present
from imagine_cli.world_models.program import function_of
from imagine_cli.world_models.signature import INPUTS, OUTPUTS


class OnnxWorldModel(WorldModel):
    """A graph from ``"observation"`` and ``"action"`` to what :mod:`signature` names.

    Its outputs are called so; others are left alone. It has no derivatives, and stays the file
    that it is.
    """

    kind = "onnx"
    propagation = "unscented"
    differentiable = False

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._graph = OnnxGraph(content)
        self._gives = [name for name in self._graph.outputs if name in OUTPUTS]
        if set(self._graph.inputs) != set(INPUTS[:2]) or not self._gives:
            raise InputError(
                f"it takes {[*self._graph.inputs]} and gives {self._graph.outputs}: export it with "
                "input_names of observation and action, and output_names of "
                f"{', '.join(OUTPUTS)}"
            )
        self._names = output_names([OUTPUTS[name][0] for name in self._gives])
        sizes = [self._graph.inputs[name][-1:] for name in INPUTS[:2]]
        if not all(size and isinstance(size[0], int) and size[0] > 0 for size in sizes):
            raise InputError(f"its inputs are of shapes {self._graph.inputs}, not rows of one size")
        (self.observation_size,), (self.action_size,) = sizes
        self.dtype = self._graph.dtype
        self.has_reward = "reward_mean" in self._names
        self.conditional(torch.rand(2, self.observation_size), torch.rand(2, self.action_size))

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape = x.shape[:-1]
        rows = x.reshape(-1, x.shape[-1])
        given = {"observation": rows, "action": u.reshape(len(rows), -1)}
        found = {}
        for word, name, value in zip(
            self._gives, self._names, self._graph.run(self._gives, given), strict=True
        ):
            made, value = OUTPUTS[word][1], value[:, 0].to(self.dtype)
            if name is not None:
                found[name] = value if made is None else function_of(made)(value)
        none, difference = rows.new_zeros(rows.shape[1], dtype=self.dtype), "delta" in self._gives
        at = as_conditional(found, rows.to(self.dtype), difference=difference, noise=none)
        return Conditional(*(part.reshape(*shape, *part.shape[1:]) for part in present(at)))

    def config(self) -> dict[str, Any]:
        raise InputError("an ONNX graph stays the file that it is, which goes to --model")

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> OnnxWorldModel:
        try:
            return cls(np.asarray(state["graph"]).tobytes())
        except InputError:
            raise
        except Exception as error:  # whatever a file made of arbitrary bytes can provoke
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise InputError(f"onnxruntime can't run it: {reason}") from error

    def describe(self) -> dict[str, Any]:
        return {"gives": ", ".join(self._gives)}
