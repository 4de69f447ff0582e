"""One step of a TensorDictModule that is somebody else's, whatever it reads and writes."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.world_models.base import Prediction, read_observation
from imagine_cli.world_models.module import written
from imagine_cli.world_models.roles import check_shapes, role

__all__ = ["module_step", "pilco_action", "writes_reward"]


def module_step(
    module: torch.nn.Module,
    tensordict: TensorDictBase,
    next_observation_key: str | tuple[str, ...],
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
    shape, size = tensordict.batch_size, _observation_size(tensordict)
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
    return any(role(key) == f"reward_{part}" for key in getattr(module, "out_keys", []))


def pilco_action(observation: Belief, action: ActionBelief) -> TensorDictBase:
    """An action as PILCO's policies write it: mean, var and cross_covariance, zero if None."""
    shape = action.mean.shape[:-1]
    size, actions = observation.mean.shape[-1], action.mean.shape[-1]
    zeros = action.mean.new_zeros
    var = zeros((*shape, actions, actions)) if action.var is None else action.var
    cross = action.cross_covariance
    cross = zeros((*shape, size, actions)) if cross is None else cross
    return TensorDict({"mean": action.mean, "var": var, "cross_covariance": cross}, shape)


def _observation_size(tensordict: TensorDictBase) -> int:
    observation = tensordict.get("observation")
    mean = observation if isinstance(observation, Tensor) else observation.get("mean")
    return int(mean.shape[-1])
