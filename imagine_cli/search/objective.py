"""The imagined return of a policy, differentiable by its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from imagine_cli.belief import ActionBelief, Belief, lower_root, point, product
from imagine_cli.errors import InputError
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.propagation.noise import Noise, TorchNoise
from imagine_cli.propagation.particles import Particles
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.search.closed_loop import ClosedLoop
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.unroll import ModelDynamics, begin, unroll
from imagine_cli.world_models.gp.posterior import points_at_once


class ImaginedReturn:
    """``J(θ) = 1/B Σ_b Σ_t E[r_t]``, t = 1 to T: the mean over B initial beliefs.

    With a propagation of beliefs the policy acts on their moments, and ``E[r_t]`` is the reward's
    mean on them: PILCO's objective (Deisenroth & Rasmussen 2011, equation 2, of rewards in place
    of costs), its derivative by autograd.

    With particles it is that of MC-PILCO (Amadio et al. 2022): each is a trajectory
    that the policy acts in, drawn by reparametrisation, so that the gradient goes through it.
    The random numbers are the same at each evaluation (Ng & Jordan 2000): J is then a function of
    θ alone, as smooth as model, policy and reward, and a line search may compare its values.
    Once the reward's own rule has ended a particle's episode, its later rewards don't count;
    which step that is has no derivative. Beliefs never end.

    Args:
        dynamics: the world model, the propagation and the reward.
        belief: the initial beliefs, ``(B, D)`` and ``(B, D, D)``.
        horizon: T, 1 or more.
        seed: of what particles draw.

    Raises:
        InputError: dynamics without a reward, or particles that are resampled.
    """

    def __init__(
        self, dynamics: ModelDynamics, belief: Belief, horizon: int, seed: int = 0
    ) -> None:
        if not dynamics.has_reward:
            raise InputError(
                "the world model has no reward of its own, so there is nothing to maximise; give "
                "--reward, such as saturating:target=0;width=0.5, quadratic:target=0 or env"
            )
        if not dynamics.model.differentiable:
            raise InputError(
                f"a world model of kind {dynamics.model.kind!r} has no derivatives, which a policy "
                "search follows; convert one of torch.export (.pt2), or plan with it: --policy icem"
            )
        propagation = dynamics.propagation
        self._count = 1
        if isinstance(propagation, Particles):
            if propagation.resample:
                raise InputError("a policy search can't resample particles; leave it out")
            self._count = propagation.particles
            sampled = Sampled(propagation.members or "fixed")
            dynamics = ModelDynamics(dynamics.model, sampled, dynamics.reward)
        self._sampled = isinstance(dynamics.propagation, Sampled)
        self.dynamics = dynamics
        self.belief = Belief(*(part.to(dynamics.dtype) for part in belief))
        self.horizon, self.seed = horizon, seed

    def __call__(
        self, policy: ParametricPolicy, parameters: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """J, a scalar; of R policies with ``parameters`` ``(R, ...)`` by name, ``(R,)``.

        R policies are imagined as one batch of R B trajectories, with the same random numbers.
        """
        if parameters is None:
            own = {name: part.unsqueeze(0) for name, part in policy.named_parameters()}
            return self(policy, own)[0]
        policies = len(next(iter(parameters.values())))
        belief = Belief(*(part.repeat_interleave(self._count, 0) for part in self.belief))
        noise: Noise = self.noise(len(belief.mean))
        if self._sampled:
            standard = noise.normal(1, belief.mean.shape[-1])
            drawn = product(standard, lower_root(belief.var).mT)[..., 0, :]
            belief = point(belief.mean + drawn)
        if policies > 1:
            belief, noise = (
                Belief(*(_repeated(x, policies) for x in belief)),
                _Same(noise, policies),
            )
        acts: Policy = _Acts(policy, parameters, points=self._sampled)
        dynamics: Any = self.dynamics
        loop = ClosedLoop.of(acts, dynamics, policy, parameters)
        if loop is not None:
            acts = dynamics = loop
        total = torch.zeros_like(belief.mean[..., 0])
        ended = torch.zeros_like(total, dtype=torch.bool)
        x, state = belief.mean, begin(dynamics, acts, belief, noise)
        with points_at_once():
            for step in unroll(dynamics, acts, belief, state, noise, self.horizon):
                reward, x_next = step.prediction.reward_mean, step.prediction.mean
                assert reward is not None  # as the dynamics have one
                if self._sampled and self.dynamics.reward is not None:
                    total = torch.where(ended, total, total + reward)
                    ended = ended | self.dynamics.reward.ended(x, step.action.mean, x_next)
                else:
                    total = total + reward
                x = x_next
        return total.view(policies, -1).mean(-1)

    def noise(self, count: int) -> TorchNoise:
        """What ``count`` trajectories draw: the same whenever it is asked for."""
        device = self.belief.mean.device
        (state,) = seed_sequence(self.seed, Stream.SEARCH_NOISE).generate_state(1, "uint64")
        generator = torch.Generator(device).manual_seed(int(state) >> 1)
        return TorchNoise((count,), self.dynamics.dtype, device, generator)


def _repeated(x: Tensor, times: int) -> Tensor:
    return x.repeat(times, *(1,) * (x.ndim - 1))


class _Same:
    """The same random numbers for each of R policies."""

    def __init__(self, noise: Noise, policies: int) -> None:
        self._noise, self._policies = noise, policies

    def normal(self, *shape: int) -> Tensor:
        return _repeated(self._noise.normal(*shape), self._policies)

    def shares(self, count: int, among: int) -> Tensor:
        return _repeated(self._noise.shares(count, among), self._policies)


class _Acts(Policy):
    """R policies, each of as many beliefs in a row, all answered at once, or at points as such.

    Rollouts have them answered in tiles of one size, so that their bits don't depend on how many
    there are (:mod:`imagine_cli.world_models.tiles`); a single belief costs a whole tile there.
    """

    def __init__(
        self, policy: ParametricPolicy, parameters: Mapping[str, Tensor], points: bool
    ) -> None:
        self._answer, self._points = _Answer(policy, points), points
        self._parameters = {f"policy.{name}": part for name, part in parameters.items()}
        self._count = len(next(iter(parameters.values())))

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        if self._count == 1:
            alone = {name: part[0] for name, part in self._parameters.items()}
            return ActionBelief(*functional_call(self._answer, alone, (observation,))), state
        shared = Belief(*(x.view(self._count, -1, *x.shape[1:]) for x in observation))

        def answer(parameters: dict[str, Tensor], belief: Belief) -> tuple[Tensor, ...]:
            found: tuple[Tensor, ...] = functional_call(self._answer, parameters, (belief,))
            return found

        parts = torch.func.vmap(answer)(self._parameters, shared)
        return ActionBelief(*(x.flatten(0, 1) for x in parts)), state


class _Answer(torch.nn.Module):
    """A policy as a module for ``functional_call``, which asks a module's ``forward``."""

    def __init__(self, policy: ParametricPolicy, points: bool) -> None:
        super().__init__()
        self.policy, self._points = policy, points

    def forward(self, observation: Belief) -> tuple[Tensor, ...]:
        if self._points:
            return (self.policy.respond_at(observation.mean),)
        return tuple(part for part in self.policy.respond(observation) if part is not None)
