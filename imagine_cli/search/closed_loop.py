"""A policy, the world model and the reward as one compiled step, for a search by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.rbf import RBFPolicy
from imagine_cli.propagation.base import State
from imagine_cli.propagation.moments import Moments
from imagine_cli.propagation.noise import Noise
from imagine_cli.rewards.saturating import SaturatingReward
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models.gp.base import GPWorldModel
from imagine_cli.world_models.gp.moment_terms import no_covariance
from imagine_cli.world_models.interfaces import Prediction

if TYPE_CHECKING:
    from imagine_cli.rewards.compiled.saturating import Saturating
    from imagine_cli.world_models.gp.compiled.layout import Array, Layout

_NAMES = ("centers", "weights", "lengthscales")


class _Arrays(NamedTuple):
    """What no step changes: the GPs and their noise, the reward, the bounds of actions."""

    gp: Layout
    noise: Array
    reward: Saturating
    max_action: Array


class ClosedLoop(Policy):
    """R policies in the dynamics that they act in: what ``unroll`` takes for both.

    A step is one function for autograd. Forward it finds every exponential of moment matching
    once, and from them the sums that its derivative needs, so that backward has none to find.
    The action is inside of it, and none is said.

    A step whose next covariance has to be repaired goes by the policies and the dynamics apart.
    """

    def __init__(
        self, acts: Policy, dynamics: ModelDynamics, parameters: list[Tensor], arrays: _Arrays
    ) -> None:
        self._acts, self._dynamics = acts, dynamics
        self._parameters, self._arrays = parameters, arrays

    @classmethod
    def of(
        cls,
        acts: Policy,
        dynamics: ModelDynamics,
        policy: ParametricPolicy,
        parameters: Mapping[str, Tensor],
    ) -> ClosedLoop | None:
        """None where there is no such step: for other policies, rewards, propagations or models.

        Args:
            acts, dynamics: the same, apart.
            policy: one of the policies.
            parameters: of all R, ``(R, ...)`` by name.
        """
        model, reward = dynamics.model, dynamics.reward
        if not (
            isinstance(policy, RBFPolicy)
            and all(part.dtype == torch.float64 and part.is_cpu for part in parameters.values())
            and isinstance(dynamics.propagation, Moments)
            and isinstance(reward, SaturatingReward)
            and isinstance(model, GPWorldModel)
            and model.dtype == torch.float64
            and model.model_error is None
        ):
            return None
        step = model.compiled_step()
        if step is None:
            return None
        from imagine_cli.rewards.compiled.saturating import Saturating

        target, scale = (part.double().numpy() for part in (reward.target, reward.scale))
        bound = np.empty(0) if policy.max_action is None else policy.max_action.numpy()
        arrays = _Arrays(step.layout, model.noise.numpy(), Saturating(target, scale), bound)
        return cls(acts, dynamics, [parameters[name] for name in _NAMES], arrays)

    def begin(self, observation: Belief, trajectories: Any) -> Any:
        return {}

    def points(self, state: State) -> None:
        """None: there is one action for a belief."""

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return ActionBelief(observation.mean[..., :0]), state

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        mean, var, reward, sound = _Step.apply(*belief, *self._parameters, self._arrays)  # type: ignore[no-untyped-call]
        if not sound:
            action, _ = self._acts.act(0, belief, {})
            return self._dynamics.step(belief, action, state, noise)
        return Prediction(mean, var, reward), state


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Any, ...]:
        from imagine_cli.policies.compiled.rbf import Policies
        from imagine_cli.search.compiled.step import forward
        from imagine_cli.world_models.gp.compiled.layout import Gradients, Terms

        arrays: _Arrays = given[-1]
        mean, var, *parts = (x.detach().contiguous().numpy() for x in given[:-1])
        policies = Policies(*parts, arrays.max_action)  # type: ignore[call-arg]
        (batch, size), actions = mean.shape, policies.weights.shape[-1]
        joined = size + actions
        joint_mean, joint_var = np.empty((batch, joined)), np.empty((batch, joined, joined))
        cross = np.empty((batch, size, actions))
        t, g = Terms.empty(arrays.gp, batch), Gradients.empty(arrays.gp, batch, 1)
        next_mean, next_var, reward = np.empty(mean.shape), np.empty(var.shape), np.empty(batch)
        sound = np.empty(batch, dtype=np.bool_)
        fixed = arrays.gp, policies, arrays.reward
        forward(
            *fixed, arrays.noise, mean, var, joint_mean, joint_var, cross, t, g,
            next_mean, next_var, reward, sound,
        )  # fmt: skip
        if t.failed.any():
            raise no_covariance(int(t.failed.argmax()))
        ctx.kept = *fixed, mean, var, joint_var, cross, t, g, next_mean, next_var
        return *map(torch.from_numpy, (next_mean, next_var, reward)), bool(sound.all())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        from imagine_cli.search.compiled.step import backward

        kept: tuple[Any, ...] = ctx.kept
        by_next: list[Any] = [np.array(x.numpy()) for x in grads[:3]]
        by = type(kept[1])(*map(np.zeros_like, kept[1]))
        by_mean, by_var = np.zeros_like(kept[3]), np.zeros_like(kept[4])
        gradients: tuple[Any, ...] = by_mean, by_var, by
        backward(*kept, *by_next, *gradients)
        return *map(torch.from_numpy, (by_mean, by_var, *by[:3])), None
