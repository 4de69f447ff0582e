"""The rewards of Gymnasium's MuJoCo envs that move forward.

Each is the forward velocity, averaged over the step, less what the control costs, and perhaps
a healthy reward and the cost of contacts. The position forward is not in an observation unless
``exclude_current_positions_from_observation`` is false. Where it isn't, the approximation takes
the mean of the velocities before and after the step, which halves the error of either or better.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reads
from imagine_cli.rewards.env import EnvReward

_INFINITE = float("inf")


@dataclass(eq=False)
class Locomotion(EnvReward):
    """``forward_reward_weight * velocity - ctrl_cost_weight |u|²``.

    Attributes:
        hidden: how many positions are left out of an observation.
        positions: how many there are; velocities follow them.
        timestep: seconds of one of the ``frame_skip`` steps of the simulator.
    """

    hidden: ClassVar[int] = 1
    positions: ClassVar[int] = 9
    timestep: ClassVar[float] = 0.01

    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.1
    frame_skip: int = 5
    exclude_current_positions_from_observation: bool = True

    remedy = "make the env with exclude_current_positions_from_observation=false, or "

    @property
    def lacks(self) -> str:
        excluded = self.exclude_current_positions_from_observation
        return "the position forward before and after the step" if excluded else ""

    def __post_init__(self) -> None:
        self.reads = self._reads()

    def _reads(self) -> Reads:
        return Reads((self.forward,), None, (self.forward,))

    @property
    def forward(self) -> int:
        """The number of the position forward in an observation, or else of the velocity."""
        return self.positions - self.shift if self.exclude_current_positions_from_observation else 0

    @property
    def shift(self) -> int:
        """Where the observation begins in ``[positions, velocities, ...]``."""
        return self.hidden if self.exclude_current_positions_from_observation else 0

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        control = self.ctrl_cost_weight * u.square().sum(-1)
        return self.forward_reward_weight * self.velocity(x, x_next) - control

    def velocity(self, x: Tensor, x_next: Tensor) -> Tensor:
        """Forward, ``(*S,)``, in metres a second."""
        before, after = x[..., self.forward], x_next[..., self.forward]
        if self.exclude_current_positions_from_observation:
            return 0.5 * (before + after)
        return (after - before) / (self.timestep * self.frame_skip)


@dataclass(eq=False)
class HalfCheetah(Locomotion):
    """Never terminates."""

    error = 0.18


@dataclass(eq=False)
class Swimmer(Locomotion):
    """Never terminates."""

    hidden = 2
    positions = 5
    error = 0.018

    ctrl_cost_weight: float = 1e-4
    frame_skip: int = 4


@dataclass(eq=False)
class Walking(Locomotion):
    """A healthy reward too, until the robot isn't healthy any more."""

    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True

    def _reads(self) -> Reads:
        return Reads()

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return super().at(x, u, x_next) + self.healthy_reward * self.healthy(x_next)

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (
            ~self.healthy(x_next) if self.terminate_when_unhealthy else super().ended(x, u, x_next)
        )

    @abstractmethod
    def healthy(self, x_next: Tensor) -> Tensor:
        """``(*S,)`` bool."""


@dataclass(eq=False)
class Walker2d(Walking):
    """Healthy while its height and its angle are within their ranges."""

    timestep = 0.002
    error = 0.014

    ctrl_cost_weight: float = 1e-3
    frame_skip: int = 4
    healthy_z_range: tuple[float, float] = (0.8, 2.0)
    healthy_angle_range: tuple[float, float] = (-1.0, 1.0)

    def _reads(self) -> Reads:
        return Reads((self.forward,), None, (self.forward, 1 - self.shift, 2 - self.shift))

    def healthy(self, x_next: Tensor) -> Tensor:
        height, angle = x_next[..., 1 - self.shift], x_next[..., 2 - self.shift]
        return _within(height, self.healthy_z_range) & _within(angle, self.healthy_angle_range)


@dataclass(eq=False)
class Hopper(Walker2d):
    """Healthy while every other number is within a range too.

    The observation clips velocities at 10, so that one beyond 100 isn't seen.
    """

    positions = 6
    error = 0.0039

    healthy_state_range: tuple[float, float] = (-100.0, 100.0)
    healthy_z_range: tuple[float, float] = (0.7, _INFINITE)
    healthy_angle_range: tuple[float, float] = (-0.2, 0.2)

    def __post_init__(self) -> None:
        if any(10.0 <= abs(bound) < 100.0 for bound in self.healthy_state_range):
            raise InputError(
                f"the reward of Hopper-v5 with healthy_state_range={self.healthy_state_range} "
                "needs velocities beyond 10, which its observations clip; give bounds below 10"
            )
        super().__post_init__()

    def _reads(self) -> Reads:
        return Reads((self.forward,))

    def healthy(self, x_next: Tensor) -> Tensor:
        others = _within(x_next[..., 2 - self.shift :], self.healthy_state_range).all(-1)
        return super().healthy(x_next) & others


@dataclass(eq=False)
class Ant(Walking):
    """Healthy while its height is within a range; contact forces cost.

    With the positions in the observation it is still approximate: the env takes the torso's from
    the last stage of a Runge-Kutta step, a moment before the observation.
    """

    hidden = 2
    positions = 15
    harmless = frozenset({"contact_force_range"})  # the observed forces are clipped to it
    remedy = ""
    error = 0.085

    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 5e-4
    healthy_z_range: tuple[float, float] = (0.2, 1.0)

    @property
    def lacks(self) -> str:
        return "the torso's position before and after the step, as the simulator last computed it"

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        forces = x_next[..., 29 - self.shift :]
        return super().at(x, u, x_next) - self.contact_cost_weight * forces.square().sum(-1)

    def healthy(self, x_next: Tensor) -> Tensor:
        height = x_next[..., 2 - self.shift]
        low, high = self.healthy_z_range
        finite = torch.isfinite(x_next[..., : 29 - self.shift]).all(-1)
        return finite & (low <= height) & (height <= high)


@dataclass(eq=False)
class Humanoid(Walking):
    """Healthy while its height is within a range; contact forces cost.

    The velocity is the centre of mass's, from the inertia and the velocity of each body.
    """

    hidden = 2
    remedy = ""
    error = 0.0052

    forward_reward_weight: float = 1.25
    healthy_reward: float = 5.0
    contact_cost_weight: float = 5e-7
    contact_cost_range: tuple[float, float] = (-_INFINITE, 10.0)
    healthy_z_range: tuple[float, float] = (1.0, 2.0)

    @property
    def lacks(self) -> str:
        return "the centre of mass before and after the step"

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        forces = x_next[..., -78:]  # 6 for each of 13 bodies
        contact = self.contact_cost_weight * forces.square().sum(-1)
        return super().at(x, u, x_next) - contact.clamp(*self.contact_cost_range)

    def velocity(self, x: Tensor, x_next: Tensor) -> Tensor:
        return 0.5 * (self._forward(x) + self._forward(x_next))

    def _forward(self, x: Tensor) -> Tensor:
        """``Σ (m v + ω × m r) / Σ m`` along the first axis, r from the centre of the tree."""
        first = 47 - self.shift  # after the positions and velocities, 13 bodies
        inertias = x[..., first : first + 130].reshape(*x.shape[:-1], 13, 10)
        velocities = x[..., first + 130 : first + 208].reshape(*x.shape[:-1], 13, 6)
        mass, arm = inertias[..., 9], inertias[..., 6:9]
        turn, move = velocities[..., :3], velocities[..., 3:]
        across = turn[..., 1] * arm[..., 2] - turn[..., 2] * arm[..., 1]
        return (mass * move[..., 0] + across).sum(-1) / mass.sum(-1)

    def healthy(self, x_next: Tensor) -> Tensor:
        return _within(x_next[..., 2 - self.shift], self.healthy_z_range)


def _within(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    return (low < values) & (values < high)
