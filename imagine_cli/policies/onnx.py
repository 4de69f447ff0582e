"""Policies in ONNX files, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import sizes
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.exported import as_codes
from imagine_cli.policies.pointwise import PointPolicy
from imagine_cli.world_models.onnx_graph import OnnxGraph


class OnnxPolicy(PointPolicy):
    """A graph from observations ``(1, D)`` to actions, as an ``ExportedPolicy`` gives them.

    At a belief it acts as at the mean, with no variance.
    """

    def __init__(self, content: bytes, env: EnvDescription) -> None:
        super().__init__()
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self._choices = list(env.choices)
        self._graph = OnnxGraph(content)
        inputs, outputs = list(self._graph.inputs), self._graph.outputs
        named = [name for name in outputs if name in ("action", "actions")] or outputs
        if len(inputs) != 1 or len(named) != 1:
            raise InputError(
                f"it takes {inputs} and gives {outputs}, not observations and the action alone"
            )
        self._input, self._output = inputs[0], named[0]

    def respond(self, observation: Belief) -> ActionBelief:
        return ActionBelief(self.respond_at(observation.mean))

    def respond_at(self, x: Tensor) -> Tensor:
        (u,) = self._graph.run([self._output], {self._input: x})
        return as_codes(u.reshape(len(x), -1), self._choices).to(x.dtype)


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
