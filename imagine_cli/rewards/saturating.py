"""The reward ``saturating``: one at the target, falling to zero some widths away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, product
from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reads, Reward, RewardContext, RewardMoments
from imagine_cli.rewards.spec import read_numbers

if TYPE_CHECKING:
    from imagine_cli.world_models.base import Prediction

__all__ = ["SaturatingReward", "make"]


class SaturatingReward(Reward):
    """``r = exp(-½ |y|²)`` with ``y = R (x' - z)``: 1 less PILCO's cost, of weights W = RᵀR.

    (Deisenroth & Rasmussen 2011, the cost of their experiments.) For ``y ~ N(m, S)`` and any
    c > 0, by the product of two Gaussians (Rasmussen & Williams 2006, A.8),

        ``E[rᶜ] = |I + c S|^(-½) exp(-c/2 mᵀ (I + c S)⁻¹ m)``,

    and the variance is ``E[r²] - E[r]²``.

    Args:
        target: z ``(D,)``.
        root: R ``(K, D)``; a row for each combination of dimensions that counts.
    """

    reads = Reads(x=(), u=())

    def __init__(self, target: Tensor, root: Tensor) -> None:
        self._target, self._root = target, root

    @classmethod
    def of_widths(cls, target: Tensor, width: Tensor) -> SaturatingReward:
        """With ``y = (x' - z) / width``, all ``(D,)``; a width of inf leaves a dimension out."""
        return cls(target, torch.diag(1.0 / width)[torch.isfinite(width)])

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._standardised(x_next).square().sum(-1))

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        root = self._root.to(x_next.mean)
        mean = self._standardised(x_next.mean)
        var = product(product(root, x_next.var), root.mT)
        power = mean.new_tensor([1.0, 2.0]).view(2, *(1,) * (mean.ndim - 1))  # c
        eye = torch.eye(len(root), dtype=mean.dtype, device=mean.device)
        first, second = _log_expectation(power, mean, eye + power[..., None, None] * var)
        # E[r]² (E[r²] / E[r]² - 1), which loses less to rounding than the difference does.
        spread = torch.exp(2.0 * first) * torch.expm1(second - 2.0 * first)
        return RewardMoments(torch.exp(first), spread.clamp_min(0.0))

    def _standardised(self, x_next: Tensor) -> Tensor:
        """``y``, ``(*S, K)``."""
        difference = x_next - self._target.to(x_next)
        return (self._root.to(x_next) * difference.unsqueeze(-2)).sum(-1)


def _log_expectation(power: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
    """``-½ log|A| - c/2 mᵀ A⁻¹ m`` by Gaussian elimination, for A with no eigenvalue below 1.

    ``power`` c ``(2, 1, ...)``, ``mean`` m ``(*B, K)``, ``matrix`` A ``(2, *B, K, K)``:
    ``(2, *B)``. In this order of sums an element's bits don't depend on those beside it.
    """
    total = torch.zeros_like(matrix[..., 0, 0])
    rest = mean.expand(matrix.shape[:-1])
    for _ in range(matrix.shape[-1]):
        pivot, head = matrix[..., 0, 0], rest[..., 0]
        total = total + torch.log(pivot) + power * head.square() / pivot
        ratio = matrix[..., 1:, 0] / pivot.unsqueeze(-1)
        rest = rest[..., 1:] - ratio * rest[..., :1]
        matrix = matrix[..., 1:, 1:] - ratio.unsqueeze(-1) * matrix[..., :1, 1:]
    return -0.5 * total


def make(argument: str, context: RewardContext) -> Reward:
    """``target=...;width=...``: D numbers each, or one for all; ``width=inf`` leaves one out."""
    size = context.env.observation_size
    given = read_numbers("saturating", argument, {"target": size, "width": size}, context)
    target, width = given["target"], given["width"]
    if target is None or width is None:
        raise InputError(
            f"reward 'saturating:{argument}' needs a target and a width for each of the {size} "
            "dimensions of the observation, or one for all: saturating:target=0,0;width=inf,0.5"
        )
    if not (width > 0.0).all() or not torch.isfinite(width).any():
        raise InputError(
            f"reward 'saturating:{argument}': widths are above 0, and inf for a dimension that "
            "doesn't count, but not for all of them"
        )
    return SaturatingReward.of_widths(target, width)
