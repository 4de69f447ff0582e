"""The reward ``quadratic``: minus the weighted squares of the distance to a target and of u."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reads, Reward, RewardContext, RewardMoments
from imagine_cli.rewards.spec import read_numbers

if TYPE_CHECKING:
    from imagine_cli.world_models.interfaces import Prediction


class QuadraticReward(Reward):
    """``r = -Σ w (x' - z)² - Σ v u²``, as a linear-quadratic regulator has it.

    For ``y ~ N(m, S)`` and W diagonal (Mathai & Provost 1992, chapter 3)

        ``E[yᵀ W y] = mᵀ W m + tr(W S)``,
        ``Var[yᵀ W y] = 2 tr(W S W S) + 4 mᵀ W S W m``.

    The mean is exact. So is the variance where the action has none; where it has, x' and u are
    taken as independent, since what they have in common is not known here.

    Args:
        target: z ``(D,)``.
        weight: w ``(D,)``.
        action_weight: v ``(F,)``.
    """

    reads = Reads(x=())

    def __init__(self, target: Tensor, weight: Tensor, action_weight: Tensor) -> None:
        self._target, self._weight, self._action_weight = target, weight, action_weight

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        difference = x_next - self._target.to(x_next)
        of_state = (self._weight.to(x_next) * difference.square()).sum(-1)
        return -of_state - (self._action_weight.to(u) * u.square()).sum(-1)

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        difference = x_next.mean - self._target.to(x_next.mean)
        mean, var = _form(self._weight, difference, x_next.var)
        if u.var is None:
            cost = (self._action_weight.to(u.mean) * u.mean.square()).sum(-1)
            return RewardMoments(-mean - cost, var)
        cost, cost_var = _form(self._action_weight, u.mean, u.var)
        return RewardMoments(-mean - cost, var + cost_var)


def _form(weight: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``Σ w y²`` for y of ``mean`` ``(*B, E)`` and ``var`` ``(*B, E, E)``."""
    weight = weight.to(mean)
    pull = weight * mean
    expected = (pull * mean + weight * var.diagonal(dim1=-2, dim2=-1)).sum(-1)
    twice = weight * weight.unsqueeze(-1) * var.square()
    fourfold = pull.unsqueeze(-2) * pull.unsqueeze(-1) * var
    return expected, (2.0 * twice + 4.0 * fourfold).flatten(-2).sum(-1)


def make(argument: str, context: RewardContext) -> Reward:
    """``target=...;weight=...;action=...``: one for all or one each; 0, 1 and 0 if not given."""
    size, actions = context.env.observation_size, context.env.action_size
    sizes = {"target": size, "weight": size, "action": actions}
    given = read_numbers("quadratic", argument, sizes, context)
    for key in ("weight", "action"):
        values = given[key]
        if values is not None and (values < 0.0).any():
            raise InputError(f"reward 'quadratic:{argument}': {key} has a weight below 0")

    def filled(key: str, value: float) -> Tensor:
        vector = given[key]
        if vector is not None:
            return vector
        return torch.full((sizes[key],), value, dtype=context.dtype, device=context.device)

    return QuadraticReward(filled("target", 0.0), filled("weight", 1.0), filled("action", 0.0))
