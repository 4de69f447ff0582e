"""The loop that imagines: beliefs carried step by step through a world model, under a policy.

It is pure and differentiable: under ``torch.no_grad`` it serves records, with gradients the search
for a policy.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from tensordict import TensorDictBase

from imagine_cli.belief import ActionBelief, Belief, fit_to_particles, nearest_covariance
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.propagation.noise import Noise
from imagine_cli.rewards.base import Reward
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Prediction


class Dynamics(Protocol):
    """What takes a belief one step on."""

    def begin(self, belief: Belief, noise: Noise) -> State:
        """What is carried at a belief that a trajectory begins from: often nothing."""

    def points(self, state: State) -> torch.Tensor | None:
        """The points ``(*B, P, D)`` that the belief is of, where it is of any."""

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        """The next belief, and the reward where there is one; and what is carried there."""


class Acts(Protocol):
    """What acts: a :class:`imagine_cli.policies.Policy`."""

    acts_at_points: bool

    def begin(self, observation: Belief, trajectories: torch.Tensor) -> State:
        """What it carries at the initial beliefs of the trajectories of these numbers."""

    def act(self, step: int, observation: Belief, state: State) -> tuple[ActionBelief, State]:
        """The action at a step, and what it carries to the next."""

    def at(self, x: torch.Tensor) -> torch.Tensor:
        """The actions ``(*S, F)`` at points ``(*S, D)``, where it acts at points."""


class ModelDynamics:
    """A world model, and how beliefs go through it.

    Its predictions have the model's dtype, and covariances that are symmetric and positive
    semi-definite; one that has to be repaired for that is warned of.

    Args:
        model: the world model.
        propagation: one that fits it.
        reward: in place of the one that the model may have.
    """

    def __init__(
        self, model: WorldModel, propagation: Propagation, reward: Reward | None = None
    ) -> None:
        self.model, self.propagation, self.reward = model, propagation, reward
        self.dtype = model.dtype

    @property
    def has_reward(self) -> bool:
        """Whether its predictions carry a reward."""
        return self.reward is not None or self.model.has_reward

    @property
    def has_reward_var(self) -> bool:
        """Whether they carry its variance."""
        return self.reward is not None or (self.model.has_reward and self.model.has_reward_var)

    def begin(self, belief: Belief, noise: Noise) -> State:
        return self.propagation.begin(self.model, belief, noise)

    def points(self, state: State) -> torch.Tensor | None:
        return self.propagation.points(state)

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        prediction, state = self.propagation.step(
            self.model, belief, action, state, noise, self.reward
        )
        return self._settled(prediction), state

    def step_from(self, tensordict: TensorDictBase, noise: Noise) -> tuple[Prediction, State]:
        """One step from a TensorDict ``(*B,)`` with ``"observation"``, ``"action"`` and what is
        carried below ``"propagation"``, which a module may read all of and write to."""
        prediction, state = self.propagation.step_from(self.model, tensordict, noise)
        return self._settled(prediction), state

    def _settled(self, prediction: Prediction) -> Prediction:
        """The prediction in :attr:`dtype`, with covariances that are some."""
        mean, var = prediction.mean.to(self.dtype), prediction.var.to(self.dtype)
        if self.propagation.certain:  # its covariances are zeros
            return prediction._replace(mean=mean, var=var)
        var, repaired = nearest_covariance(var)
        if repaired:
            warnings.warn(
                "the world model gave a covariance that is not positive semi-definite; its "
                "negative eigenvalues are set to zero",
                stacklevel=2,
            )
        return prediction._replace(mean=mean, var=var)


class Step(NamedTuple):
    """One imagined step: the action that was taken, what it led to, and what goes on from there.

    ``prediction`` is the next belief, with the reward of this step where there is one; ``state``
    and ``policy_state`` are what the dynamics and the policy carry to it.
    """

    action: ActionBelief
    prediction: Prediction
    state: State
    policy_state: State

    @property
    def belief(self) -> Belief:
        """The next belief, ``(*B, D)`` and ``(*B, D, D)``."""
        return Belief(self.prediction.mean, self.prediction.var)


def begin(
    dynamics: Dynamics,
    policy: Acts,
    belief: Belief,
    noise: Noise,
    trajectories: torch.Tensor | None = None,
) -> tuple[State, State]:
    """What dynamics and policy carry at the initial beliefs ``(B, D)``, ``(B, D, D)``.

    ``trajectories`` ``(B,)`` are their numbers, 0, 1, ... if None.
    """
    if trajectories is None:
        trajectories = torch.arange(len(belief.mean), device=belief.mean.device)
    return dynamics.begin(belief, noise), policy.begin(belief, trajectories)


def unroll(
    dynamics: Dynamics,
    policy: Acts,
    belief: Belief,
    state: tuple[State, State],
    noise: Noise,
    steps: int,
    first_step: int = 0,
) -> Iterator[Step]:
    """``steps`` imagined steps, one after the other.

    Where a belief is of points, and the policy acts at points, each point has its own action.

    Args:
        dynamics: what takes a belief one step on.
        policy: what acts.
        belief: where it begins, ``(B, D)`` and ``(B, D, D)``.
        state: of :func:`begin`, or the states of the step before.
        noise: where random numbers come from.
        steps: how many.
        first_step: the number of the first one, which policies are told.
    """
    carried, acting = state
    for step in range(first_step, first_step + steps):
        points = dynamics.points(carried) if policy.acts_at_points else None
        if points is None:
            action, acting = policy.act(step, belief, acting)
        else:
            action = ActionBelief(policy.at(points))
        prediction, carried = dynamics.step(belief, action, carried, noise)
        if points is not None:
            action = ActionBelief(*fit_to_particles(action.mean))
        belief = Belief(prediction.mean, prediction.var)
        yield Step(action, prediction, carried, acting)
