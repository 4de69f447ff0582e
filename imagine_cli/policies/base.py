"""What every policy answers, and what it is made from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, point

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription

PolicyState = dict[str, Tensor]
"""What a policy carries from step to step: tensors ``(B, ...)`` by name."""


@dataclass(frozen=True)
class PolicyContext:
    """What a policy may be made from.

    Attributes:
        env: the env whose actions it gives.
        seed: 0 or more; what it draws at random depends on it.
        dtype: what it computes in.
        device: where.
        dynamics: the world model, its propagation and the reward
            (:class:`imagine_cli.unroll.ModelDynamics`), for policies that plan; None where there
            is none.
    """

    env: EnvDescription
    seed: int = 0
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"
    dynamics: Any = None


class Policy(ABC):
    """What acts in an imagined, or a real, env.

    It remembers nothing itself: what must go from step to step is in the state that :meth:`begin`
    makes and :meth:`act` hands on, so that it can be saved, resumed and sent elsewhere.

    Attributes:
        name: how it was asked for; goes into the rollout file.
        gives_variance: whether every action it gives has a ``var`` (so that the file has room).
        acts_at_points: whether it reacts to where it is by :meth:`at`, so that each of many
            particles has its own action.
        episodes_at_once: in how many real episodes side by side it acts, where there are many.
    """

    name: str = ""
    gives_variance: bool = False
    acts_at_points: bool = False
    episodes_at_once: int = 1

    def check(self, steps: int, trajectories: int) -> None:  # noqa: B027 (most have no limit)
        """Whether it can act for so many steps and trajectories: InputError where it can't.

        Called once, before any trajectory begins.
        """

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        """The state at the initial beliefs ``(B, D)``, ``(B, D, D)`` of trajectories.

        What a policy draws at random depends on its seed, the trajectory's number and the step
        alone, never on how trajectories are batched.

        Args:
            trajectories: their numbers, ``(B,)`` int64.
        """
        return {}

    @abstractmethod
    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        """The action at ``step`` (0, 1, ...) for a belief ``(B, D)``, ``(B, D, D)``: ``(B, F)``.

        Discrete actions are one-hot, in the belief's dtype.

        Args:
            state: of :meth:`begin` or of the step before.
        """

    def at(self, x: Tensor) -> Tensor:
        """The actions ``(*S, F)`` at points ``(*S, D)``, where it :attr:`acts_at_points`."""
        raise NotImplementedError


class OpenLoop(Policy):
    """A policy that sees where it is believed to be and no spread: one action for the belief."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.name = policy, policy.name

    def check(self, steps: int, trajectories: int) -> None:
        self._policy.check(steps, trajectories)

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        return self._policy.begin(point(observation.mean), trajectories)

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        action, state = self._policy.act(step, point(observation.mean), state)
        return ActionBelief(action.mean), state
