"""Programs that ``torch.export`` wrote, as policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagine_cli.checkpoint.pt2 import read_policy
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import sizes
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.pointwise import POINTS
from imagine_cli.world_models.program_module import ProgramModule, check_held


class ExportedPolicy(ProgramModule, ParametricPolicy):
    """Any module's program from observations ``(N, D)`` to actions.

    Actions are ``(N, F)``; for a discrete env they may be the numbers of the choices instead,
    ``(N,)`` or ``(N, C)`` integers. The program is run operator by operator
    (:mod:`~imagine_cli.world_models.program`) in the dtype of its tensors.
    """

    kind = "exported"

    def __init__(
        self, program: dict[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> None:
        super().__init__()
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self.gives_variance = not env.is_discrete
        self._choices = list(env.choices)
        self.hold(program, state)

    def respond_at(self, x: Tensor) -> Tensor:
        (u,) = self.run({"observation": x.to(self._dtype).contiguous()})
        return as_codes(u, self._choices).to(x.dtype)

    @property
    def _dtype(self) -> torch.dtype:
        floats = [value.dtype for value in self.buffers() if value.is_floating_point()]
        return floats[0] if floats else torch.get_default_dtype()

    def config(self) -> dict[str, Any]:
        return {"program": self.program}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> ExportedPolicy:
        program = config.get("program")
        check_held(program, state, ("observation",), "policy")
        assert isinstance(program, dict)
        if len(program["outputs"]) != 1:
            raise InputError(
                f"its program has {len(program['outputs'])} outputs; a policy's is the action alone"
            )
        policy = cls(program, state, env)
        sizes = {"observation": policy.observation_size}
        # As many as beliefs and points are answered at a time.
        policy.check_runs(policy._tried, sizes, policy._dtype, (2, cls.batch_size, POINTS))
        return policy

    def _tried(self, x: Tensor) -> tuple[Tensor]:
        u = self.respond_at(x)
        if tuple(u.shape) != (len(x), self.action_size):
            raise InputError(
                f"it gives actions {tuple(u.shape)} at observations {tuple(x.shape)}, not "
                f"{(len(x), self.action_size)}"
            )
        return (u,)


def as_codes(u: Tensor, choices: list[int]) -> Tensor:
    """Actions ``(N, F)``, where the numbers of C choices, integers ``(N, C)``, are one-hot."""
    if not choices or u.is_floating_point() or u.numel() != len(u) * len(choices):
        return u
    numbers = u.long().reshape(len(u), -1)
    codes = [nn.functional.one_hot(numbers[:, k], n) for k, n in enumerate(choices)]
    return torch.cat(codes, dim=-1)


def make(argument: str, context: PolicyContext) -> ExportedPolicy:
    """A path ending in .pt2."""
    program, state = read_policy(Path(argument))
    try:
        policy = ExportedPolicy.from_config({"program": program}, state, context.env)
    except InputError as error:
        reason = f"the policy {argument} doesn't fit: {error} ({sizes(context.env)})"
        raise InputError(reason) from error
    policy.name = argument
    return policy
