"""Mean and variance of any reward on Gaussian beliefs, by a few points with the same moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from imagine_cli.belief import ActionBelief, Belief, joint, lower_root
from imagine_cli.rewards.base import Reward, RewardMoments

if TYPE_CHECKING:
    from imagine_cli.world_models.interfaces import Prediction

__all__ = ["sigma_point_moments"]


def sigma_point_moments(
    reward: Reward, x: Belief, u: ActionBelief, x_next: Prediction
) -> RewardMoments:
    """The unscented transform (Julier & Uhlmann 2004) of the E dimensions that a reward reads.

    2E + 1 points: the mean, and the mean plus and minus ``√c`` times each column of a lower root
    of the covariance, ``c = max(3, E)``, so that no weight is negative. The others of ``[x, u]``
    (jointly) and x' (independent of them) stay at their means.
    """
    certain = u.var is None and u.cross_covariance is None
    before = joint(x, u)
    size, inputs = x.mean.shape[-1], before.mean.shape[-1]
    mean = torch.cat([before.mean, x_next.mean], dim=-1)
    var = pad(before.var, (0, size, 0, size)) + pad(x_next.var, (inputs, 0, inputs, 0))
    read = [
        *_numbers(reward.reads.x, 0, size),
        *([] if certain else _numbers(reward.reads.u, size, inputs)),
        *_numbers(reward.reads.x_next, inputs, inputs + size),
    ]
    count = len(read)
    if not count:
        value = reward.at(x.mean, u.mean, x_next.mean)
        return RewardMoments(value, torch.zeros_like(value))
    stretch = float(max(3, count))
    offsets = stretch**0.5 * lower_root(var[..., read, :][..., read]).mT
    points = mean.unsqueeze(-2).repeat(*(1,) * (mean.ndim - 1), 2 * count + 1, 1)
    points[..., 1 : count + 1, read] += offsets
    points[..., count + 1 :, read] -= offsets
    values = reward.at(points[..., :size], points[..., size:inputs], points[..., inputs:])
    weights = mean.new_full((2 * count + 1,), 0.5 / stretch)
    weights[0] = 1.0 - count / stretch
    # Differences from the first point, so that equal values have a variance of zero.
    differences = values - values[..., :1]
    shift = (weights * differences).sum(-1, keepdim=True)
    spread = (weights * (differences - shift).square()).sum(-1)
    return RewardMoments((values[..., :1] + shift)[..., 0], spread)


def _numbers(read: Sequence[int] | None, first: int, end: int) -> Sequence[int]:
    numbers = range(first, end)
    return numbers if read is None else [numbers[k] for k in read]
