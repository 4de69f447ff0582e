"""The propagation ``sampled``: one sampled state for each trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.belief import ActionBelief, Belief, lower_root, product
from imagine_cli.errors import InputError
from imagine_cli.propagation.base import Carried, Propagation, State
from imagine_cli.propagation.particles import draw_next
from imagine_cli.world_models.interfaces import (
    UNLIMITED,
    Prediction,
    SupportsLatent,
    SupportsPoints,
    member_count,
)

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise
    from imagine_cli.rewards.base import Reward


@dataclass(frozen=True)
class Sampled(Propagation):
    """Each trajectory is one draw from the model; its beliefs are points, of zero variance.

    Many trajectories are then what :class:`~imagine_cli.propagation.particles.Particles` are
    within one, with a policy that acts at each: what planners and MC-PILCO (Amadio et al. 2022)
    imagine with. The state that a trajectory begins from is drawn from its initial belief.

    Of a batch ``(B,)`` each trajectory is computed by itself, to the bit. In a batch ``(*B, N)``
    the N along the last axis are such as are always computed together.

    Attributes:
        members: ``"fixed"``: a trajectory follows one member of an ensemble, or one function
            drawn from a Gaussian process, for life (TS-infinity, Chua et al. 2018, section 5);
            ``"random"``: another one at each step (TS1).
    """

    members: str = "fixed"

    name = "sampled"
    needs = SupportsPoints | SupportsLatent
    certain = True

    def __post_init__(self) -> None:
        if self.members not in ("random", "fixed"):
            raise InputError(f"--members {self.members!r} is not random or fixed")

    @property
    def description(self) -> str:
        return f"sampled(members={self.members})"

    def carried(self, model: Any) -> dict[str, Carried]:
        carried = {"sample": Carried((model.observation_size,), model.dtype)}
        if self.members == "fixed" and member_count(model) > 1:
            carried["member"] = Carried((1,), torch.int64, member_count(model))
        if model.model_error is not None:
            carried["error"] = carried["sample"]
        if isinstance(model, SupportsLatent):
            carried["latent"] = Carried((model.latent_size,), model.dtype)
        return carried

    def begin(self, model: Any, belief: Belief, noise: Noise) -> State:
        standard = noise.normal(1, belief.mean.shape[-1])
        drawn = product(standard, lower_root(belief.var).mT)[..., 0, :]
        state = {"sample": belief.mean + drawn}
        if "member" in self.carried(model):
            state["member"] = noise.shares(1, member_count(model))
        if model.model_error is not None:
            state["error"] = model.model_error.first(noise.normal(belief.mean.shape[-1]))
        if isinstance(model, SupportsLatent):
            state["latent"] = model.encode(state["sample"], noise.normal(model.noise_size))
        return state

    def step(
        self,
        model: Any,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
        reward: Reward | None = None,
    ) -> tuple[Prediction, State]:
        x, u, member, z = state["sample"], action.mean, state.get("member"), state.get("error")
        latent, numbers = state.get("latent"), None
        if member is None and 1 < (count := member_count(model)) < UNLIMITED:
            member = noise.shares(1, count)
        member = None if member is None else member[..., 0]
        if latent is not None:
            numbers = noise.normal(model.noise_size)
        standard = noise.normal(x.shape[-1])
        alone = x.ndim == 2
        if alone:  # a trajectory of one particle
            x, u, standard = x.unsqueeze(1), u.unsqueeze(1), standard.unsqueeze(1)
            member, z, latent, numbers = (
                None if part is None else part.unsqueeze(1) for part in (member, z, latent, numbers)
            )
        if latent is None:
            at = model.conditional(x, u, member)
        else:
            latent, at = model.advance(latent, u, numbers)
        sample = draw_next(model, at, z, standard)
        rewards = at.reward_mean if reward is None else reward.at(x, u, sample)
        if alone:
            sample, rewards = sample[:, 0], None if rewards is None else rewards[:, 0]
        var = sample.new_zeros(()).expand(*sample.shape, sample.shape[-1])
        spread = None if rewards is None else rewards.new_zeros(()).expand(rewards.shape)
        after = {**state, "sample": sample}
        if latent is not None:
            after["latent"] = latent[:, 0] if alone else latent
        if z is not None:
            numbers = noise.normal(sample.shape[-1])
            after["error"] = model.model_error.next(state["error"], numbers)
        return Prediction(sample, var, rewards, spread), after

    def advance(
        self, model: Any, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        return self.step(model, belief, action, state, noise)
