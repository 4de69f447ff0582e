"""A policy, the world model and the reward as one compiled step, for a search by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


class ClosedLoop(Policy):
    """R policies and the dynamics that they act in: what ``unroll`` takes for both.

    The step is one function for autograd: forward it finds the exponentials of moment matching,
    each once, and the sums of them that its derivative needs, so that backward is next to nothing.
    The action is inside of it, and none is said.

    A step whose next covariance has to be repaired goes by ``acts`` and ``dynamics``.

    Args:
        acts, dynamics: the same, apart.
        policy: an RBFPolicy in float64, whose bounds all have.
        parameters: of R policies, ``(R, ...)`` by name.
    """

    def __init__(
        self,
        acts: Policy,
        dynamics: ModelDynamics,
        policy: RBFPolicy,
        parameters: Mapping[str, Tensor],
    ) -> None:
        from imagine_cli.rewards.compiled.saturating import Saturating

        self._acts, self._dynamics = acts, dynamics
        model, reward = dynamics.model, dynamics.reward
        assert isinstance(model, GPWorldModel) and isinstance(reward, SaturatingReward)
        step = model.compiled_step()
        assert step is not None
        self.gp, self.noise = step.layout, model.noise.numpy()
        self.reward = Saturating(*(x.double().numpy() for x in (reward.target, reward.scale)))
        bound = policy.max_action
        self.max_action = np.empty(0) if bound is None else bound.numpy()
        self._parameters = [parameters[name] for name in ("centers", "weights", "lengthscales")]

    @staticmethod
    def suits(policy: ParametricPolicy, dynamics: ModelDynamics) -> bool:
        """Whether there is one for such a policy in such dynamics."""
        model = dynamics.model
        return (
            type(policy) is RBFPolicy
            and all(p.dtype == torch.float64 and p.is_cpu for p in policy.parameters())
            and type(dynamics.propagation) is Moments
            and type(dynamics.reward) is SaturatingReward
            and isinstance(model, GPWorldModel)
            and model.dtype == torch.float64
            and model.compiled_step() is not None
        )

    def begin(self, observation: Belief, trajectories: Any) -> Any:
        return {}

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return ActionBelief(observation.mean[..., :0]), state

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        mean, var, reward, sound = _Step.apply(*belief, *self._parameters, self)  # type: ignore[no-untyped-call]
        if not sound:
            action, _ = self._acts.act(0, belief, {})
            return self._dynamics.step(belief, action, state, noise)
        return Prediction(mean, var, reward), state


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor, bool]:
        from imagine_cli.policies.compiled.rbf import Policies
        from imagine_cli.search.compiled.step import forward
        from imagine_cli.world_models.gp.compiled.layout import Gradients, Terms

        loop: ClosedLoop = given[-1]
        mean, var, *parameters = (x.detach().contiguous().numpy() for x in given[:-1])
        policies = Policies(*parameters, loop.max_action)
        (batch, size), actions = mean.shape, parameters[1].shape[-1]
        joined = size + actions
        joint_mean, joint_var = np.empty((batch, joined)), np.empty((batch, joined, joined))
        cross, reward = np.empty((batch, size, actions)), np.empty(batch)
        t, g = Terms.empty(loop.gp, batch), Gradients.empty(loop.gp, batch, 1)
        next_mean, next_var = np.empty(mean.shape), np.empty(var.shape)
        sound = np.empty(batch, dtype=np.bool_)
        out = next_mean, next_var, reward
        forward(
            loop.gp, policies, loop.reward, loop.noise, mean, var,
            joint_mean, joint_var, cross, t, g, *out, sound,
        )  # fmt: skip
        if t.failed.any():
            raise no_covariance(int(t.failed.argmax()))
        ctx.kept = loop.gp, policies, loop.reward, mean, var, joint_var, cross, t, g, *out[:2]
        return *map(torch.from_numpy, out), bool(sound.all())

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        from imagine_cli.search.compiled.step import backward

        policies, mean, var = ctx.kept[1], *ctx.kept[3:5]
        given = [np.array(x.numpy()) for x in grads[:3]]
        by = type(policies)(*map(np.zeros_like, policies))
        by_mean, by_var = np.zeros_like(mean), np.zeros_like(var)
        backward(*ctx.kept, *given, by_mean, by_var, by)
        return *map(torch.from_numpy, (by_mean, by_var, *by[:3])), None
