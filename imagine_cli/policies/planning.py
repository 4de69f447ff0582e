"""What policies have in common that plan: at each step they search for the best actions ahead."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.policies.action_range import ActionRange
from imagine_cli.policies.base import Policy, PolicyContext, PolicyState
from imagine_cli.policies.parameters import number, one_of
from imagine_cli.policies.scenarios import Purpose, Scenarios, generators, keys
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.rewards.base import Reward
from imagine_cli.threads import one_thread
from imagine_cli.unroll import ModelDynamics, begin, unroll


@dataclass(frozen=True)
class PlannerParameters:
    """What every planner is told.

    Attributes:
        horizon: H, how many steps ahead it looks.
        candidates: C, how many sequences of actions it tries in an iteration.
        iterations: how often it moves its distribution of sequences at each step.
        particles: P, in how many sampled trajectories each candidate is tried.
        members: ``fixed``: a trajectory follows one member of the world model for life
            (TS-infinity); ``random``: another one at each step (TS1).
        risk: how many standard deviations of the return, over the particles, are taken off its
            mean; below 0 they are added.
        std: the standard deviation that a search begins with, in halves of the actions' range, or
            in their own units where they have none; the weight that discrete choices' uniform
            distribution begins with.
    """

    horizon: int = number(30, 1)
    candidates: int = number(64, 2)
    iterations: int = number(3, 1)
    particles: int = number(20, 1)
    members: str = one_of("fixed", "random")
    risk: float = number(0.0, -1e6, 1e6)
    std: float = number(0.5, 1e-6)


class Search(NamedTuple):
    """Where the search for B trajectories stands.

    Attributes:
        mean: ``(B, H, F)``; of discrete actions the choices' probabilities.
        std: ``(B, H, F)``.
        elites: the best candidates, best first, ``(B, E, H, F)``.
    """

    mean: Tensor
    std: Tensor
    elites: Tensor


class _Candidates(Policy):
    """Acts by sequences of actions ``(B, C, H, F)``, each for P particles side by side."""

    def __init__(self, actions: Tensor, particles: int) -> None:
        self._actions, self._particles = actions, particles

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        actions = self._actions[:, :, step].unsqueeze(2)
        return ActionBelief(actions.expand(-1, -1, self._particles, -1).flatten(1, 2)), state


class Planner(Policy):
    """At each step, from the belief's mean, the search for H actions with the best return.

    All candidates of all trajectories, each in P sampled trajectories, are imagined as one batch.
    What is found is carried to the next step, shifted by one: the state's ``mean`` ``(B, H, F)``,
    and ``elites`` where some are kept. What is drawn depends on the seed, the trajectory's number
    and the step alone.

    Args:
        parameters: its own.
        context: with a world model that can be asked at points, and a reward.

    Raises:
        InputError: there is no such world model, or no reward.
    """

    parameters: PlannerParameters
    episodes_at_once = 25  # a call of the model costs as much for one as for a few

    def __init__(self, parameters: PlannerParameters, context: PolicyContext, name: str) -> None:
        dynamics: Any = context.dynamics
        if dynamics is None:
            raise InputError(
                f"policy {name!r} plans in a world model, and there is none here; give one, or "
                "another policy"
            )
        model: Any = dynamics.model
        if not isinstance(model, Sampled.needs):
            raise InputError(
                f"policy {name!r} plans by sampled trajectories, and a world model of kind "
                f"{model.kind!r} can't be asked at points; give a gp, sparse-gp, linear "
                "or ensemble one"
            )
        if not dynamics.has_reward:
            raise InputError(
                f"policy {name!r} plans for the best return, and the world model has no reward; "
                "give one, such as --reward env or --reward saturating:..."
            )
        self.name, self.parameters = name, parameters
        self._seed, self._device = context.seed, context.device
        self._dynamics = ModelDynamics(dynamics.model, Sampled(parameters.members))
        self._reward: Reward | None = dynamics.reward
        self._range = ActionRange(context.env, self._dynamics.dtype, context.device)

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        shape = (len(trajectories), self.parameters.horizon, 1)
        return {
            "key": keys(self._seed, trajectories).to(self._device),
            "mean": self._range.start.repeat(*shape),
        }

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        with torch.no_grad(), one_thread():
            plan, state = self.plan(step, observation, state)
        return ActionBelief(plan[:, 0].to(observation.mean)), state

    def plan(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[Tensor, PolicyState]:
        """The actions ``(B, H, F)`` that are best for all it found, and the next step's state."""
        told, at = self.parameters, observation.mean.to(self._range.start)
        draws = generators(state["key"], step, Purpose.CANDIDATES)
        scenarios = Scenarios(generators(state["key"], step, Purpose.SCENARIOS), told.particles, at)
        mean = self._range.again(state["mean"], told.std)
        std = (told.std * self._range.scale).expand_as(mean)
        search = Search(mean, std, state.get("elites", mean[:, None][:, :0]))
        for iteration in range(told.iterations):
            count = self.count(iteration)
            shape = (count, told.horizon, mean.shape[-1])
            standard = torch.from_numpy(np.stack([self.draw(each, shape) for each in draws]))
            candidates = self._range.around(
                search.mean.unsqueeze(1), search.std.unsqueeze(1), standard.to(at)
            )
            candidates = torch.cat([candidates, *self.added(search, iteration)], dim=1)
            returns = self._returns(at, candidates, scenarios)
            search = self.improved(search, candidates, returns)
        return self._range.allowed(self.chosen(search)), {**state, **self.carried(search)}

    def count(self, iteration: int) -> int:
        """How many candidates are drawn in an iteration."""
        return self.parameters.candidates

    def draw(self, generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
        """Numbers ``(C, H, F)``, each of mean 0 and variance 1."""
        return generator.standard_normal(shape)

    def added(self, search: Search, iteration: int) -> Iterator[Tensor]:
        """Candidates ``(B, E, H, F)`` beside those drawn."""
        return iter(())

    @abstractmethod
    def improved(self, search: Search, candidates: Tensor, returns: Tensor) -> Search:
        """The search after an iteration.

        Args:
            candidates: ``(B, C, H, F)``.
            returns: ``(B, C)``, minus infinity where the model failed.
        """

    def chosen(self, search: Search) -> Tensor:
        """The plan, ``(B, H, F)``."""
        return search.mean

    def carried(self, search: Search) -> PolicyState:
        """What the next step's search begins with."""
        return {"mean": shifted(search.mean)}

    def _returns(self, at: Tensor, candidates: Tensor, scenarios: Scenarios) -> Tensor:
        """The return of each candidate ``(B, C, H, F)`` from observations ``(B, D)``: ``(B, C)``.

        Rewards count until the reward's own rule ends the episode.
        """
        batch, count, horizon, _ = candidates.shape
        particles, reward = self.parameters.particles, self._reward
        points, observed = count * particles, at.shape[-1]
        noise, policy = scenarios.rewind(count), _Candidates(candidates, particles)
        # One covariance of zeros serves all.
        belief = Belief(
            at.unsqueeze(1).expand(-1, points, -1), at.new_zeros(1, 1, observed, observed)
        )
        state = begin(self._dynamics, policy, belief, noise)
        steps = list(unroll(self._dynamics, policy, belief, state, noise, horizon))
        if reward is None:
            rewards: Any = [step.prediction.reward_mean for step in steps]
            ended: Any = ()
        else:  # of all steps at once
            x_next = torch.stack([step.prediction.mean for step in steps])
            x = torch.cat([belief.mean.unsqueeze(0), x_next[:-1]])
            u = torch.stack([step.action.mean for step in steps])
            rewards, ended = reward.at(x, u, x_next), reward.ended(x, u, x_next)
        total = at.new_zeros(batch, points)
        goes_on = torch.ones_like(total, dtype=torch.bool)
        for step, one in enumerate(rewards):
            total = total + one.where(goes_on, 0.0)
            if len(ended):
                goes_on = goes_on & ~ended[step]
        total = total.view(batch, count, particles)
        value = total.mean(-1)
        if self.parameters.risk:
            value = value - self.parameters.risk * total.std(-1, unbiased=False)
        return value.where(value.isfinite(), -torch.inf)


def shifted(sequence: Tensor) -> Tensor:
    """``(*S, H, F)`` one step on, the last action once more."""
    return torch.cat([sequence[..., 1:, :], sequence[..., -1:, :]], dim=-2)
