"""What every reward answers, on points and on beliefs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from imagine_cli.belief import ActionBelief, Belief, joint, lower_root

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.world_models.base import WorldModel
    from imagine_cli.world_models.interfaces import Prediction


class Reads(NamedTuple):
    """Which dimensions of x, u and x' a reward depends on: their numbers, or None for all."""

    x: Sequence[int] | None = None
    u: Sequence[int] | None = None
    x_next: Sequence[int] | None = None


class RewardMoments(NamedTuple):
    """Mean and variance of the reward on beliefs, ``(*B,)`` each."""

    mean: Tensor
    var: Tensor


@dataclass(frozen=True)
class RewardContext:
    """What a reward is made from.

    Attributes:
        env: the env that is imagined.
        model: its world model; None where there is none, as in the real env.
        dtype: what a reward that computes anything computes in.
        device: where.
    """

    env: EnvDescription
    model: WorldModel | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"


class Reward(ABC):
    """A reward ``r(x, u, x')`` of an observation, the action there and the observation after it.

    Continuous actions are as the env takes them, discrete ones one-hot. All of it is torch, in
    the dtype and on the device of what comes in, and differentiable wherever r is.

    Attributes:
        name: its spec, as on the command line.
        reads: what it depends on.
    """

    name: str = ""
    reads: Reads = Reads()

    @abstractmethod
    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        """The reward at points ``(*S, D)``, ``(*S, F)``, ``(*S, D)``: ``(*S,)``."""

    def __call__(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return self.at(x, u, x_next)

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        """Where the env's own rule ends the episode with this step, ``(*S,)`` bool.

        The step's reward still counts, and those after it don't. Nothing else ends.
        """
        return torch.zeros(x_next.shape[:-1], dtype=torch.bool, device=x_next.device)

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        """Mean and variance of the reward of a step from belief to belief, ``(*B,)`` each.

        Where a reward has no closed form, by the unscented transform (Julier & Uhlmann 2004) of
        the E dimensions that it :attr:`reads`: 2E + 1 points, the mean, and the mean plus and
        minus ``√c`` times each column of a lower root of the covariance, ``c = max(3, E)``, so
        that no weight is negative. The mean is exact for a quadratic r. ``[x, u]`` are joint, and
        x' is taken as independent of them, which matters where r depends on both.
        """
        certain = u.var is None and u.cross_covariance is None
        before = joint(x, u)
        size, inputs = x.mean.shape[-1], before.mean.shape[-1]
        mean = torch.cat([before.mean, x_next.mean], dim=-1)
        var = pad(before.var, (0, size, 0, size)) + pad(x_next.var, (inputs, 0, inputs, 0))
        read = [
            *_numbers(self.reads.x, 0, size),
            *([] if certain else _numbers(self.reads.u, size, inputs)),
            *_numbers(self.reads.x_next, inputs, inputs + size),
        ]
        count = len(read)
        if not count:
            value = self.at(x.mean, u.mean, x_next.mean)
            return RewardMoments(value, torch.zeros_like(value))
        stretch = float(max(3, count))
        offsets = stretch**0.5 * lower_root(var[..., read, :][..., read]).mT
        points = mean.unsqueeze(-2).repeat(*(1,) * (mean.ndim - 1), 2 * count + 1, 1)
        points[..., 1 : count + 1, read] += offsets
        points[..., count + 1 :, read] -= offsets
        values = self.at(points[..., :size], points[..., size:inputs], points[..., inputs:])
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
