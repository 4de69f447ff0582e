"""The propagation ``particles``: many samples, each going its own way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, fit_to_particles, lower_root, product
from imagine_cli.errors import InputError
from imagine_cli.propagation.base import Carried, Propagation, State
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import (
    UNLIMITED,
    Conditional,
    HasMembers,
    Prediction,
    SupportsLatent,
    SupportsPoints,
    member_count,
)
from imagine_cli.world_models.model_error import ModelError, variances_at

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise
    from imagine_cli.rewards.base import Reward


@dataclass(frozen=True)
class Particles(Propagation):
    """P samples of the belief; mean and covariance are theirs (Chua et al. 2018, section 5).

    Each step a particle's next state is drawn from the model's distribution at the particle. In
    an ensemble it is one member's: ``members="random"`` (TS1 in that paper) gives every particle
    a member anew at each step, ``"fixed"`` (TS-infinity) one for its whole life, so that what the
    members disagree on stays apart. Members are dealt out evenly, each particle's being uniform.
    The members of a Gaussian process are the functions that may be drawn from it: ``"fixed"``
    gives each particle a function of its own for life, one consistent world (Wilson et al. 2020),
    ``"random"`` another one at each step, which is noise that is independent from step to step.
    The noise of the process itself is drawn at each step either way.

    ``resample`` (distribution sampling) draws the particles of each step anew from the Gaussian
    with the mean and covariance of those before.

    A policy that reacts acts at each particle. Of one that has a single action for the belief, or
    where the particles are drawn anew, all get that; where it has a covariance, each gets an
    action drawn given where it is. A reward's mean and variance are those over the particles.

    Of a model with a :class:`~imagine_cli.world_models.model_error.ModelError` each particle has
    an error of its own, ``"error"``; of one with a latent state each has one of its own,
    ``"latent"``, which begins at the particle and from then on goes its own way: the particle is
    an observation drawn given it.

    Attributes:
        particles: P, 2 or more.
        members: ``"random"``, ``"fixed"``, or None: fixed where the model has members and the
            particles aren't drawn anew.
        resample: draw the particles anew each step.
    """

    particles: int = 100
    members: str | None = None
    resample: bool = False

    name = "particles"
    needs = SupportsPoints | SupportsLatent

    def __post_init__(self) -> None:
        if self.particles < 2:
            raise InputError(
                f"{self.particles} particles have no covariance; give 2 or more (--particles)"
            )
        if self.members not in (None, "random", "fixed"):
            raise InputError(f"--members {self.members!r} is not random or fixed")
        if self.resample and self.members == "fixed":
            raise InputError(
                "--resample draws particles anew at each step, so that none has a member for "
                "life; leave out --members fixed, or --resample"
            )

    @property
    def description(self) -> str:
        parts = [f"particles={self.particles}"]
        if self.members is not None:
            parts.append(f"members={self.members}")
        if self.resample:
            parts.append("resample")
        return f"particles({', '.join(parts)})"

    def suited(self, model: WorldModel) -> Propagation:
        if self.resample and isinstance(model, SupportsLatent):
            raise InputError(
                f"--resample draws observations anew, and a world model of kind {model.kind!r} "
                "goes on from its latent states; leave it out"
            )
        if member_count(model) == 1:
            if self.members is not None:
                raise InputError(
                    f"--members {self.members} is for an ensemble or a Gaussian process, and a "
                    f"world model of kind {model.kind!r} has no members; leave it out"
                )
            return self
        if self.members is None:
            return replace(self, members="random" if self.resample else "fixed")
        return self

    def carried(self, model: SupportsPoints | SupportsLatent) -> dict[str, Carried]:
        states = {"particles": Carried((self.particles, model.observation_size), model.dtype)}
        if self._keeps_members(model):
            states["member"] = Carried((self.particles,), torch.int64, member_count(model))
        if model.model_error is not None:
            states["error"] = states["particles"]
        if isinstance(model, SupportsLatent):
            states["latent"] = Carried((self.particles, model.latent_size), model.dtype)
        return states

    def numbers(self, model: SupportsPoints | SupportsLatent) -> int:
        beside = super().numbers(model)
        if isinstance(model, HasMembers) and self._keeps_members(model):
            beside += self.particles * model.member_size
        return beside

    def begin(self, model: SupportsPoints | SupportsLatent, belief: Belief, noise: Noise) -> State:
        state = {"particles": self._draw(belief, noise)}
        if self._keeps_members(model):
            state["member"] = noise.shares(self.particles, member_count(model))
        if model.model_error is not None:
            state["error"] = model.model_error.first(noise.normal(*state["particles"].shape[-2:]))
        if isinstance(model, SupportsLatent):
            numbers = noise.normal(self.particles, model.noise_size)
            state["latent"] = model.encode(state["particles"], numbers)
        return state

    def points(self, state: State) -> Tensor | None:
        return None if self.resample else state["particles"]

    def step(
        self,
        model: SupportsPoints | SupportsLatent,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
        reward: Reward | None = None,
    ) -> tuple[Prediction, State]:
        """As :meth:`Propagation.step`; a reward is that of each particle's own step."""
        x, z = state["particles"], state.get("error")
        if self.resample:
            x, z = self._draw_again(belief, x, z, noise)
        member = state.get("member")
        # Of an unlimited number, all together at a point are another one at each point.
        if member is None and 1 < (count := member_count(model)) < UNLIMITED:
            member = noise.shares(self.particles, count)
        u = _actions(x, belief, action, noise)
        if isinstance(model, SupportsLatent):
            numbers = noise.normal(self.particles, model.noise_size)
            latent, at = model.advance(state["latent"], u, numbers)
            state = {**state, "latent": latent}
        else:
            at = model.conditional(x, u, member)
        x_next = draw_next(model, at, z, noise.normal(*x.shape[-2:]))
        fitted = fit_to_particles(x_next)
        rewards, reward_var = at.reward_mean, None
        if reward is not None:
            rewards = reward.at(x, u, x_next)
        if rewards is not None:
            over = fit_to_particles(rewards.unsqueeze(-1))
            rewards, reward_var = over.mean[..., 0], over.var[..., 0, 0]
            if at.reward_var is not None and reward is None:
                reward_var = reward_var + at.reward_var.contiguous().mean(-1)
        prediction = Prediction(fitted.mean, fitted.var, rewards, reward_var)
        state = {**state, "particles": x_next}
        if z is not None:
            state["error"] = model.model_error.next(z, noise.normal(*x.shape[-2:]))
        return prediction, state

    def advance(
        self, model: Any, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        return self.step(model, belief, action, state, noise)

    def _keeps_members(self, model: Any) -> bool:
        return self.members == "fixed" and member_count(model) > 1

    def _draw(self, belief: Belief, noise: Noise) -> Tensor:
        standard = noise.normal(self.particles, belief.mean.shape[-1])
        return belief.mean.unsqueeze(-2) + product(standard, lower_root(belief.var).mT)

    def _draw_again(
        self, belief: Belief, x: Tensor, z: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor | None]:
        """Particles of the belief; where there are errors, of the Gaussian of both."""
        if z is None:
            return self._draw(belief, noise), None
        drawn = self._draw(fit_to_particles(torch.cat([x, z], dim=-1)), noise)
        return drawn[..., : x.shape[-1]], drawn[..., x.shape[-1] :]


def _actions(x: Tensor, belief: Belief, action: ActionBelief, noise: Noise) -> Tensor:
    """An action for each particle ``(*B, P, F)``: given where it is, as the joint belief has it."""
    if action.mean.ndim == x.ndim:
        return action.mean
    u = action.mean.unsqueeze(-2)
    var, cross = action.var, action.cross_covariance
    if cross is not None:
        u = u + product(x - belief.mean.unsqueeze(-2), cross)
    if var is not None:
        if cross is not None:
            var = var - product(product(cross.mT, belief.var), cross)
        u = u + product(noise.normal(x.shape[-2], u.shape[-1]), lower_root(var).mT)
    return u.expand(*x.shape[:-1], u.shape[-1])


def draw_next(model: Any, at: Conditional, z: Tensor | None, standard: Tensor) -> Tensor:
    """Next states ``(*S, D)`` from standard normal numbers: of a model with an error, that is ``z``
    ``(*S, D)`` and the numbers are the noise of the process alone."""
    if z is None:
        return at.mean + deviation(at, standard)
    error: ModelError = model.model_error
    return at.mean + error.scale(variances_at(at)) * z + deviation(error.noise(at), standard)


def deviation(at: Conditional, standard: Tensor) -> Tensor:
    """Standard normal numbers ``(*S, D)`` as deviations from the conditional's mean."""
    if at.is_diagonal:
        if not at.var.requires_grad:
            return standard * at.var.clamp_min(0.0).sqrt()
        positive = at.var > 0
        # The square root's derivative at zero is infinite, and nothing flows through it.
        return standard * positive * at.var.where(positive, at.var.new_ones(())).sqrt()
    return product(lower_root(at.var), standard.unsqueeze(-1))[..., 0]
