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
    from imagine_cli.world_models.gp.compiled.model_error import Error
    from imagine_cli.world_models.model_error import ModelError

_NAMES = ("centers", "weights", "lengthscales")


class _Arrays(NamedTuple):
    """What no step changes: the GPs, their noise and error, the reward, the bounds of actions."""

    gp: Layout
    noise: Array
    error: Error
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
        ):
            return None
        step = model.compiled_step()
        if step is None:
            return None
        from imagine_cli.rewards.compiled.saturating import Saturating

        target, scale = (part.double().numpy() for part in (reward.target, reward.scale))
        bound = np.empty(0) if policy.max_action is None else policy.max_action.numpy()
        error = _error_of(model.model_error)
        noise, saturating = model.noise.numpy(), Saturating(target, scale)
        arrays = _Arrays(step.layout, noise, error, saturating, bound)
        return cls(acts, dynamics, [parameters[name] for name in _NAMES], arrays)

    def begin(self, observation: Belief, trajectories: Any) -> Any:
        has_error = len(self._arrays.error.share) > 0
        return {"error": torch.zeros_like(observation.var)} if has_error else {}

    def points(self, state: State) -> None:
        """None: there is one action for a belief."""

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return ActionBelief(observation.mean[..., :0]), state

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        error = state.get("error", belief.var[..., :0, :0])
        mean, var, reward, after, sound = _Step.apply(  # type: ignore[no-untyped-call]
            *belief, error, *self._parameters, self._arrays
        )
        if not sound:
            action, _ = self._acts.act(0, belief, {})
            return self._dynamics.step(belief, action, state, noise)
        return Prediction(mean, var, reward), dict.fromkeys(state, after)


def _error_of(error: ModelError | None) -> Error:
    from imagine_cli.world_models.gp.compiled.model_error import Error

    if error is None:
        return Error(np.empty(0), 0.0, np.empty((0, 0)))
    share, correlation = error.share.numpy(), error.correlation.numpy()
    return Error(share, float(error.persistence), correlation)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Any, ...]:
        from imagine_cli.policies.compiled.rbf import Policies
        from imagine_cli.search.compiled.step import forward
        from imagine_cli.world_models.gp.compiled.layout import Gradients, Terms
        from imagine_cli.world_models.gp.compiled.model_error import Carried

        arrays: _Arrays = given[-1]
        mean, var, error, *parts = (x.detach().contiguous().numpy() for x in given[:-1])
        policies = Policies(*parts, arrays.max_action)  # type: ignore[call-arg]
        (batch, size), actions = mean.shape, policies.weights.shape[-1]
        joined = size + actions
        joint_mean, joint_var = np.empty((batch, joined)), np.empty((batch, joined, joined))
        cross = np.empty((batch, size, actions))
        t, g = Terms.empty(arrays.gp, batch), Gradients.empty(arrays.gp, batch, 1)
        next_mean, next_var, reward = np.empty(mean.shape), np.empty(var.shape), np.empty(batch)
        sound = np.empty(batch, dtype=np.bool_)
        carried = Carried.empty(batch, size, joined)
        next_error = np.empty(error.shape)
        fixed = arrays.gp, policies, arrays.reward, arrays.error
        forward(
            *fixed, arrays.noise, mean, var, error, joint_mean, joint_var, cross, t, g, carried,
            next_mean, next_var, next_error, reward, sound,
        )  # fmt: skip
        if t.failed.any():
            raise no_covariance(int(t.failed.argmax()))
        ctx.kept = *fixed, mean, var, error, joint_var, cross, t, g, carried, next_mean, next_var
        found = next_mean, next_var, reward, next_error
        return *map(torch.from_numpy, found), bool(sound.all())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        from imagine_cli.search.compiled.step import backward

        kept: tuple[Any, ...] = ctx.kept
        by_next: list[Any] = [np.array(x.numpy()) for x in grads[:4]]
        by = type(kept[1])(*map(np.zeros_like, kept[1]))
        gradients: tuple[Any, ...] = *(np.zeros_like(part) for part in kept[4:7]), by
        backward(*kept, *by_next, *gradients)
        return *map(torch.from_numpy, (*gradients[:3], *by[:3])), None
