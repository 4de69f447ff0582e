"""The reward ``saturating``: one at the target, falling to zero some widths away."""

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


class SaturatingReward(Reward):
    """``r = exp(-½ |y|²)`` with ``y = (x' - z) / width``: 1 less PILCO's cost.

    (Deisenroth & Rasmussen 2011, the cost of their experiments.) For ``y ~ N(m, S)`` and any
    c > 0, by the product of two Gaussians (Rasmussen & Williams 2006, A.8),

        ``E[rᶜ] = |I + c S|^(-½) exp(-c/2 mᵀ (I + c S)⁻¹ m)``,

    and the variance is ``E[r²] - E[r]²``.

    Args:
        target: z ``(D,)``.
        width: ``(D,)``, above 0; inf for a dimension that doesn't count.

    Attributes:
        scale: 1 / width.
    """

    reads = Reads(x=(), u=())

    def __init__(self, target: Tensor, width: Tensor) -> None:
        self.target, self.scale = target, 1.0 / width

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        y = (x_next - self.target.to(x_next)) * self.scale.to(x_next)
        return torch.exp(-0.5 * y.square().sum(-1))

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        scale = self.scale.to(x_next.mean)
        mean = (x_next.mean - self.target.to(scale)) * scale
        spread = x_next.var * (scale * scale.unsqueeze(-1))
        both = torch.stack([spread, 2.0 * spread], dim=-3)  # c S for both c, (*B, 2, D, D)
        eye = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        root, _ = torch.linalg.cholesky_ex(eye + both)
        column = mean.unsqueeze(-2).unsqueeze(-1).expand(*both.shape[:-1], 1)
        whitened = torch.linalg.solve_triangular(root, column, upper=False)
        half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        forms = whitened.square().sum((-2, -1))
        first = -half_log_det[..., 0] - 0.5 * forms[..., 0]
        second = -half_log_det[..., 1] - forms[..., 1]
        # E[r]² (E[r²] / E[r]² - 1), which loses less to rounding than the difference does.
        var = torch.exp(2.0 * first) * torch.expm1(second - 2.0 * first)
        return RewardMoments(torch.exp(first), var.clamp_min(0.0))


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
    return SaturatingReward(target, width)
