"""Somebody else's TensorDictModule that takes beliefs, and so is its own propagation."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.world_models.base import WorldModel, read_observation
from imagine_cli.world_models.interfaces import Prediction
from imagine_cli.world_models.module import (
    Key,
    ModuleWorldModel,
    WrappedModule,
    declared_dtype,
    written,
)
from imagine_cli.world_models.output_keys import check_shapes, output_name


def as_world_model(
    module: torch.nn.Module,
    observation_size: int,
    action_size: int,
    *,
    next_observation_key: Key = ("next", "observation"),
    dtype: torch.dtype | None = None,
    propagation: Any = None,
) -> WorldModel:
    """Any TensorDictModule as a :class:`WorldModel`; one that is one already stays itself.

    Args:
        module: what takes ``"observation"`` and ``"action"``.
        observation_size, action_size: D and F.
        next_observation_key: where another's module writes.
        dtype: of the beliefs where the module declares none; torch's default if None.
        propagation: what is to go through it, a name or a Propagation. With None or ``"module"``
            another's module takes beliefs (:class:`BeliefModule`); with any other it is asked at
            points (:class:`ModuleWorldModel`).

    Raises:
        InputError: a world model of other sizes, or a module that can't be asked at points, where
            it has to be.
    """
    if isinstance(module, WorldModel):
        sizes = (module.observation_size, module.action_size)
        if sizes != (observation_size, action_size):
            raise InputError(
                f"the world model is for observations of size {sizes[0]} and actions of size "
                f"{sizes[1]}, but the env has {observation_size} and {action_size}"
            )
        return module
    dtype = declared_dtype(module) or dtype
    if dtype is None or not dtype.is_floating_point:
        dtype = torch.get_default_dtype()
    own = getattr(propagation, "name", propagation) in (None, BeliefModule.propagation)
    made = BeliefModule if own else ModuleWorldModel
    return made(
        module, observation_size, action_size,
        next_observation_key=next_observation_key, dtype=dtype,
    )  # fmt: skip


class BeliefModule(WrappedModule):
    """A TensorDictModule that takes beliefs, as a world model: it is its own propagation.

    It reads ``"observation"`` with ``"mean"`` and ``"var"``, ``"action"``, and from a TensorDict
    whatever else is there (:meth:`predict_from`). Nothing more is known of it: it can't be asked
    at points (:class:`~imagine_cli.world_models.module.ModuleWorldModel` are those that can).
    As a TensorDictModule it is the module itself.

    Args:
        module, observation_size, action_size, next_observation_key: of
            :class:`~imagine_cli.world_models.module.WrappedModule`.
        dtype: of the beliefs.
    """

    propagation = "module"

    def __init__(
        self,
        module: torch.nn.Module,
        observation_size: int,
        action_size: int,
        *,
        next_observation_key: Key = ("next", "observation"),
        dtype: torch.dtype,
    ) -> None:
        super().__init__(module, observation_size, action_size, next_observation_key)
        self.dtype, self.has_reward = dtype, writes_reward(module)
        self.in_keys = list(getattr(module, "in_keys", self.in_keys))
        self.out_keys = list(getattr(module, "out_keys", self.out_keys))

    @property
    def has_reward_var(self) -> bool:
        return writes_reward(self.module, "var")

    def predict(self, belief: Belief, action: ActionBelief) -> Prediction:
        shape, device = belief.mean.shape[:-1], belief.mean.device
        certain = action.var is None and action.cross_covariance is None
        entries: dict[str, Any] = {
            "observation": TensorDict(belief._asdict(), shape, device=device),
            "action": action.mean if certain else pilco_action(belief, action),
        }
        return self.predict_from(TensorDict(entries, shape, device=device))

    def predict_from(self, tensordict: TensorDictBase) -> Prediction:
        """One step from a TensorDict, which the module may read all of, and write to."""
        found = module_step(self.module, tensordict, self.next_observation_key, self.dtype)
        return found._replace(mean=found.mean.to(self.dtype), var=found.var.to(self.dtype))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        out: TensorDictBase = self.module(tensordict)
        return out


def module_step(
    module: torch.nn.Module,
    tensordict: TensorDictBase,
    next_observation_key: Key,
    dtype: torch.dtype,
) -> Prediction:
    """What ``module`` says of the next observation, and of the reward where it says anything.

    A module that reads ``("action", "mean")`` gets actions as PILCO's policies write them.

    Args:
        module: a world model.
        tensordict: ``"observation"`` with ``"mean"`` and ``"var"``, and ``"action"``, of any batch
            shape ``*B``; the module may write to it.
        next_observation_key: where the module writes ``"mean"`` and ``"var"``, a covariance or a
            vector of variances, or one tensor, which is certain.
        dtype: of an action that is given as a belief.

    Raises:
        InputError: nothing is written there, or in other shapes, or the module doesn't take
            beliefs.
    """
    shape, observation = tensordict.batch_size, tensordict.get("observation")
    size = (observation if isinstance(observation, Tensor) else observation.get("mean")).shape[-1]
    if ("action", "mean") in getattr(module, "in_keys", []):
        action = tensordict.get("action")
        if isinstance(action, Tensor):
            belief = read_observation(tensordict, dtype)
            tensordict.set("action", pilco_action(belief, ActionBelief(action.to(dtype))))
        tensordict = tensordict.reshape(-1)  # torchrl's moment matching has one batch axis
    try:
        out = module(tensordict)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"the {type(module).__name__} can't be given a belief, with mean and var below "
            f'"observation" ({reason}); if it takes plain observations, name a propagation: '
            "linearized, unscented or particles"
        ) from error
    found = written(out, next_observation_key, module)
    mean, var = found["mean"], found.get("var")
    one_axis = (shape.numel(),)  # of the batch, which some modules answer in
    try:
        check_shapes(found, (*(one_axis if mean.shape[:-1] == one_axis else shape), size))
    except InputError as error:
        raise InputError(
            f"the {type(module).__name__} can't be used as a world model: {error}"
        ) from error
    if var is None:
        var = mean.new_zeros((*mean.shape, mean.shape[-1]))
    elif var.ndim == mean.ndim:
        var = torch.diag_embed(var)
    reward, reward_var = found.get("reward_mean"), found.get("reward_var")
    return Prediction(
        mean.reshape(*shape, size),
        var.reshape(*shape, size, size),
        None if reward is None else reward.reshape(shape),
        None if reward_var is None else reward_var.reshape(shape),
    )


def writes_reward(module: torch.nn.Module, part: str = "mean") -> bool:
    """Whether a module says that it writes a reward, or another ``part`` of it, its ``"var"``."""
    return any(output_name(key) == f"reward_{part}" for key in getattr(module, "out_keys", []))


def pilco_action(observation: Belief, action: ActionBelief) -> TensorDictBase:
    """An action as PILCO's policies write it: mean, var and cross_covariance, zero if None."""
    shape = action.mean.shape[:-1]
    size, actions = observation.mean.shape[-1], action.mean.shape[-1]
    zeros = action.mean.new_zeros
    var = zeros((*shape, actions, actions)) if action.var is None else action.var
    cross = action.cross_covariance
    cross = zeros((*shape, size, actions)) if cross is None else cross
    return TensorDict({"mean": action.mean, "var": var, "cross_covariance": cross}, shape)
