"""Policies that give a Gaussian, perhaps squashed into bounds: ``u = v``, or ``u = m sin(v)``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import sizes, symmetric_bounds
from imagine_cli.policies.parametric import ParametricPolicy, choice
from imagine_cli.policies.squash import squash_sin


class SquashedPolicy(ParametricPolicy):
    """A policy of continuous actions, with the moments of what it gives.

    Args:
        max_action: m, ``(F,)``; None for ``u = v``.
    """

    gives_variance = True

    max_action: Tensor | None

    def __init__(self, max_action: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("max_action", max_action, persistent=False)

    @abstractmethod
    def before_squashing(self, observation: Belief) -> tuple[Tensor, Tensor, Tensor]:
        """``E[v]`` ``(*B, F)``, ``cov[v]`` ``(*B, F, F)`` and ``Σ⁻¹ cov[x, v]`` ``(*B, D, F)``."""

    def respond(self, observation: Belief) -> ActionBelief:
        v, v_var, cross = self.before_squashing(observation)
        if self.max_action is None:
            return ActionBelief(v, v_var, cross)
        squashed = squash_sin(v, v_var, self.max_action.to(v))
        return ActionBelief(squashed.mean, squashed.var, cross * squashed.slope.unsqueeze(-2))

    def config(self) -> dict[str, Any]:
        if self.max_action is None:
            return {"squash": "none", "max_action": None}
        return {"squash": "sin", "max_action": self.max_action.tolist()}


def max_action_for(
    kind: str, config: Mapping[str, Any], env: EnvDescription, dtype: torch.dtype
) -> Tensor | None:
    """The bound ``m`` ``(F,)`` of a sine squashing; None where config asks for none.

    ``config["squash"]`` is "sin" or "none"; ``config["max_action"]`` a list of F positive
    numbers, or absent, in which case the env's own bounds are taken. Raises InputError, for a
    discrete env too.
    """
    if env.is_discrete:
        raise InputError(
            f"a policy of kind {kind!r} gives continuous actions, but those of env {env.id!r} "
            "are discrete"
        )
    if choice(config, "squash", ("sin", "none")) == "none":
        return None
    listed = config.get("max_action")
    if listed is None:
        bounds = symmetric_bounds(env)
        if bounds is None:
            raise InputError(
                f"it squashes its actions into symmetric bounds, which env {env.id!r} "
                f"({list(env.action_low)} to {list(env.action_high)}) doesn't have; "
                "name them in its config as max_action"
            )
        return torch.as_tensor(bounds, dtype=dtype)
    if not isinstance(listed, list) or not all(map(_is_positive, listed)):
        raise InputError(f"its max_action is {listed!r}, not a list of positive numbers")
    if len(listed) != env.action_size:
        raise InputError(f"its max_action has {len(listed)} numbers, but {sizes(env)}")
    return torch.tensor(listed, dtype=dtype)


def _is_positive(number: object) -> bool:
    return type(number) in (int, float) and 0 < number < 1e300  # type: ignore[operator]
