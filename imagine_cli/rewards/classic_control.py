"""The rewards of Gymnasium's classic control envs."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from imagine_cli.rewards.base import Reads
from imagine_cli.rewards.env import EnvReward


@dataclass(eq=False)
class Pendulum(EnvReward):
    """``-(θ² + 0.1 θ̇² + 0.001 u²)``, of x and u, the torque clipped as the env does it."""

    reads = Reads(x_next=())
    harmless = frozenset({"g"})

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        angle = torch.atan2(x[..., 1], x[..., 0])
        torque = u[..., 0].clamp(-2.0, 2.0)
        return -(angle.square() + 0.1 * x[..., 2].square() + 0.001 * torque.square())


@dataclass(eq=False)
class MountainCar(EnvReward):
    """-1 a step, until the car is at 0.5 or beyond."""

    reads = Reads((), (), ())
    goal_velocity: float = 0.0

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return torch.full_like(x_next[..., 0], -1.0)

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (x_next[..., 0] >= 0.5) & (x_next[..., 1] >= self.goal_velocity)


@dataclass(eq=False)
class MountainCarContinuous(EnvReward):
    """``100 [x' >= 0.45] - 0.1 u²``; arriving ends it."""

    reads = Reads(x=())
    goal_velocity: float = 0.0

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return 100.0 * self.ended(x, u, x_next) - 0.1 * u[..., 0].square()

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (x_next[..., 0] >= 0.45) & (x_next[..., 1] >= self.goal_velocity)


@dataclass(eq=False)
class CartPole(EnvReward):
    """1 a step, until the cart is 2.4 away or the pole leans by more than 12°.

    Sutton and Barto's: 0 a step, and -1 for that one.
    """

    sutton_barto_reward: bool = False

    def __post_init__(self) -> None:
        self.reads = Reads((), (), (0, 2) if self.sutton_barto_reward else ())

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        if self.sutton_barto_reward:
            return -self.ended(x, u, x_next).to(x_next.dtype)
        return torch.ones_like(x_next[..., 0])

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (x_next[..., 0].abs() > 2.4) | (x_next[..., 2].abs() > 12.0 * pi / 180.0)


@dataclass(eq=False)
class Acrobot(EnvReward):
    """-1 a step, and 0 for the one that swings the tip above the line, which ends it."""

    reads = Reads((), (), (0, 1, 2, 3))

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return self.ended(x, u, x_next).to(x_next.dtype) - 1.0

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        cos1, sin1, cos2, sin2 = x_next[..., :4].unbind(-1)
        return -cos1 - (cos1 * cos2 - sin1 * sin2) > 1.0
