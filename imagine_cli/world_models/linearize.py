"""A belief through a world model to first order around its mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint, product, symmetrise
from imagine_cli.world_models.interfaces import Conditional, Prediction, SupportsPoints


def linearize(model: SupportsPoints, belief: Belief, action: ActionBelief) -> Prediction:
    """One step: ``μ' = m(μ̃)``, ``Σ' = J Σ̃ Jᵀ + Q(μ̃)``, as the extended Kalman filter predicts.

    m and Q are the model's mean and variance at a point, J is the Jacobian of m, and the reward
    goes the same way. ``belief`` is ``(*B, D)``, ``(*B, D, D)``, ``action`` ``(*B, F)``.
    """
    size = belief.mean.shape[-1]
    around = joint(belief, action)

    def means(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        at = model.conditional(x[..., :size], x[..., size:])
        parts = {key: value for key, value in at._asdict().items() if value is not None}
        if at.reward_mean is None:
            return at.mean, parts
        return torch.cat([at.mean, at.reward_mean.unsqueeze(-1)], dim=-1), parts

    slope, parts = jacobian(means, around.mean)  # (*B, D or D + 1, D + F)
    found = Conditional(**parts)
    spread = product(product(slope, around.var), slope.mT)
    reward_var = None
    if found.reward_mean is not None:
        reward_var = spread[..., size, size]
        if found.reward_var is not None:
            reward_var = reward_var + found.reward_var
    var = symmetrise(spread[..., :size, :size] + found.covariance)
    return Prediction(found.mean, var, found.reward_mean, reward_var, slope[..., :size, :])


def jacobian(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Tensor, Any]:
    """The Jacobians ``(*S, K, E)`` of ``function`` at points ``(*S, E)``, and what it gives beside.

    Args:
        function: from ``(*S, E)`` to ``(*S, K)``, each of its own point alone; and anything else.
    """
    # One product with a vector that picks an output in every row gives that row of every Jacobian.
    outputs, pullback, beside = torch.func.vjp(function, x, has_aux=True)  # type: ignore[misc]
    count = outputs.shape[-1]
    picks = torch.eye(count, dtype=outputs.dtype, device=outputs.device)
    picks = picks.view(count, *(1,) * (outputs.ndim - 1), count).expand(count, *outputs.shape)
    (rows,) = torch.func.vmap(pullback)(picks)
    return rows.movedim(0, -2), beside
