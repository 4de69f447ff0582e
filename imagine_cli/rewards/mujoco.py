"""The rewards of Gymnasium's MuJoCo envs that stay where they are: pendulums, arms, standing up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.rewards.base import Reads, RewardMoments
from imagine_cli.rewards.env import EnvReward

if TYPE_CHECKING:
    from imagine_cli.world_models.interfaces import Prediction


@dataclass(eq=False)
class InvertedPendulum(EnvReward):
    """1 while the pole leans by at most 0.2 rad, 0 for the step that ends it."""

    reads = Reads((), (), (1,))
    harmless = frozenset({"frame_skip"})

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (~self.ended(x, u, x_next)).to(x_next.dtype)

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return (x_next[..., 1].abs() > 0.2) | ~torch.isfinite(x_next).all(-1)

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        """``1 - q`` and ``q (1 - q)`` for ``q = Φ((μ - 0.2) / σ) + Φ((-0.2 - μ) / σ)``.

        Unlike the reward itself they have a gradient.
        """
        angle, var = x_next.mean[..., 1], x_next.var[..., 1, 1]
        per_deviation = var.clamp_min(torch.finfo(var.dtype).eps ** 2).rsqrt()
        q: Tensor = torch.special.ndtr((angle - 0.2) * per_deviation)
        q = q + torch.special.ndtr((-0.2 - angle) * per_deviation)
        return RewardMoments(1.0 - q, q * (1.0 - q))


@dataclass(eq=False)
class InvertedDoublePendulum(EnvReward):
    """The healthy reward less ``0.01 x² + (y - 2)²`` of the tip and ``10⁻³ ω₁² + 5·10⁻³ ω₂²``.

    Approximate: the env takes the tip from the last stage of its last Runge-Kutta step, a moment
    before the observation, which also clips velocities at 10.
    """

    reads = Reads((), (), (0, 1, 2, 3, 4, 6, 7))
    harmless = frozenset({"frame_skip"})
    error = 1.9e-5

    healthy_reward: float = 10.0

    @property
    def lacks(self) -> str:
        return "the tip's position as the simulator last computed it, within its last step"

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        across, height = self._tip(x_next)
        distance = 0.01 * across.square() + (height - 2.0).square()
        speed = 1e-3 * x_next[..., 6].square() + 5e-3 * x_next[..., 7].square()
        return self.healthy_reward * (height > 1.0) - distance - speed

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return self._tip(x_next)[1] <= 1.0

    def _tip(self, x_next: Tensor) -> tuple[Tensor, Tensor]:
        """Both links are 0.6 long, the second one's angle is relative to the first one's."""
        sin1, sin2, cos1, cos2 = x_next[..., 1:5].unbind(-1)
        across = x_next[..., 0] + 0.6 * (sin1 + sin1 * cos2 + cos1 * sin2)
        return across, 0.6 * (cos1 + cos1 * cos2 - sin1 * sin2)


@dataclass(eq=False)
class Reacher(EnvReward):
    """Minus the distance of fingertip and target after the step, and minus ``|u|²``."""

    reads = Reads((), None, (8, 9))
    harmless = frozenset({"frame_skip"})
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(x_next[..., 8:10], dim=-1)
        control = u.square().sum(-1)
        return -self.reward_dist_weight * distance - self.reward_control_weight * control


@dataclass(eq=False)
class Pusher(EnvReward):
    """Minus the distances of object and goal and of object and fingertip, and minus ``|u|²``."""

    reads = Reads((), None, range(14, 23))
    harmless = frozenset({"frame_skip"})
    reward_near_weight: float = 0.5
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 0.1

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        tip, thing, goal = x_next[..., 14:17], x_next[..., 17:20], x_next[..., 20:23]
        near: Tensor = torch.linalg.vector_norm(thing - tip, dim=-1)
        far: Tensor = torch.linalg.vector_norm(thing - goal, dim=-1)
        control = self.reward_control_weight * u.square().sum(-1)
        return -self.reward_near_weight * near - self.reward_dist_weight * far - control


@dataclass(eq=False)
class HumanoidStandup(EnvReward):
    """``1 + z / 0.003`` less what the control and the contact forces cost."""

    harmless = frozenset({"frame_skip", "uph_cost_weight"})  # the env itself reads no such weight
    ctrl_cost_weight: float = 0.1
    impact_cost_weight: float = 0.5e-6
    impact_cost_range: tuple[float, float] = (float("-inf"), 10.0)
    exclude_current_positions_from_observation: bool = True

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        height = x_next[..., 0 if self.exclude_current_positions_from_observation else 2]
        control = self.ctrl_cost_weight * u.square().sum(-1)
        forces = x_next[..., -78:]  # 6 for each of 13 bodies
        impact = self.impact_cost_weight * forces.square().sum(-1)
        return height / 0.003 - control - impact.clamp(*self.impact_cost_range) + 1.0
