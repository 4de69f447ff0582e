"""What every reward answers, on points and on beliefs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.world_models.base import WorldModel
    from imagine_cli.world_models.interfaces import Prediction

__all__ = ["Reads", "Reward", "RewardContext", "RewardMoments"]


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

        Where a reward has no closed form, by sigma points of what it :attr:`reads`: the mean is
        exact for a quadratic r. How x' hangs together with x and u is not in the arguments, so
        that they are taken as independent; it matters where r depends on both.
        """
        from imagine_cli.rewards.sigma_points import sigma_point_moments

        return sigma_point_moments(self, x, u, x_next)
