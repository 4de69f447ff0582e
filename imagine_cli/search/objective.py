"""The imagined return of a policy, differentiable by its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, lower_root, point, product
from imagine_cli.errors import InputError
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.propagation.particles import Particles
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.search.closed_loop import ClosedLoop
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.unroll import ModelDynamics, begin, unroll


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

    def __call__(self, policy: ParametricPolicy) -> Tensor:
        """J, a scalar."""
        belief = Belief(*(part.repeat_interleave(self._count, 0) for part in self.belief))
        noise = self.noise(len(belief.mean))
        if self._sampled:
            standard = noise.normal(1, belief.mean.shape[-1])
            drawn = product(standard, lower_root(belief.var).mT)[..., 0, :]
            belief = point(belief.mean + drawn)
        acts: Policy = _Acts(policy, points=self._sampled)
        dynamics: Any = self.dynamics
        if ClosedLoop.suits(policy, dynamics):
            parameters = {name: p.unsqueeze(0) for name, p in policy.named_parameters()}
            acts = dynamics = ClosedLoop(acts, dynamics, policy, parameters)
        total = torch.zeros_like(belief.mean[..., 0])
        ended = torch.zeros_like(total, dtype=torch.bool)
        x, state = belief.mean, begin(dynamics, acts, belief, noise)
        for step in unroll(dynamics, acts, belief, state, noise, self.horizon):
            reward, x_next = step.prediction.reward_mean, step.prediction.mean
            assert reward is not None  # as the dynamics have one
            total = torch.where(ended, total, total + reward)
            if self._sampled and self.dynamics.reward is not None:
                ended = ended | self.dynamics.reward.ended(x, step.action.mean, x_next)
            x = x_next
        return total.mean()

    def noise(self, count: int) -> TorchNoise:
        """What ``count`` trajectories draw: the same whenever it is asked for."""
        device = self.belief.mean.device
        (state,) = seed_sequence(self.seed, Stream.SEARCH_NOISE).generate_state(1, "uint64")
        generator = torch.Generator(device).manual_seed(int(state) >> 1)
        return TorchNoise((count,), self.dynamics.dtype, device, generator)


class _Acts(Policy):
    """A policy all of whose beliefs are answered at once, or at points as such.

    Rollouts have them answered in tiles of one size, so that their bits don't depend on how many
    there are (:mod:`imagine_cli.world_models.tiles`); a single belief costs a whole tile there.
    """

    def __init__(self, policy: ParametricPolicy, points: bool) -> None:
        self._policy, self._points = policy, points

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        if self._points:
            return ActionBelief(self._policy.respond_at(observation.mean)), state
        return self._policy.respond(observation), state
