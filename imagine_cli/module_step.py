"""One step of a TensorDictModule that is somebody else's, whatever it reads and writes."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.world_models.base import Prediction, read_observation

__all__ = ["declared_dtype", "module_step", "pilco_action", "writes_reward"]

_REWARD = ("next", "reward")


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
        InputError: nothing is written there.
    """
    shape = tensordict.batch_size
    if ("action", "mean") in getattr(module, "in_keys", []):
        action = tensordict.get("action")
        if isinstance(action, Tensor):
            belief = read_observation(tensordict, dtype)
            tensordict.set("action", pilco_action(belief, ActionBelief(action.to(dtype))))
        tensordict = tensordict.reshape(-1)  # torchrl's moment matching has one batch axis
    out = module(tensordict)
    found = out.get(next_observation_key, None)
    if found is None:
        raise InputError(
            f"the world model wrote nothing at next_observation_key "
            f"{next_observation_key!r}; it wrote {sorted(map(str, out.keys(True, True)))}"
        )
    if isinstance(found, Tensor):
        mean, var = found, found.new_zeros((*found.shape, found.shape[-1]))
    else:
        mean, var = found.get("mean"), found.get("var")
    if var.ndim == mean.ndim:
        var = torch.diag_embed(var)
    reward: Any = out.get(_REWARD, None)
    reward_var = None
    if reward is None and "reward" in getattr(module, "out_keys", []):
        reward = out.get("reward")
    if reward is not None and not isinstance(reward, Tensor):
        reward, reward_var = reward.get("mean"), reward.get("var", None)
    size = mean.shape[-1]
    return Prediction(
        mean.reshape(*shape, size),
        var.reshape(*shape, size, size),
        None if reward is None else reward.reshape(shape),
        None if reward_var is None else reward_var.reshape(shape),
    )


def writes_reward(module: torch.nn.Module) -> bool:
    """Whether a module says that it writes a reward."""
    keys = getattr(module, "out_keys", [])
    return any(key == "reward" or tuple(key)[:2] == _REWARD for key in keys)


def declared_dtype(module: torch.nn.Module) -> torch.dtype | None:
    """A module's ``dtype``, else that of its parameters or buffers; None where it has none."""
    declared = getattr(module, "dtype", None)
    if isinstance(declared, torch.dtype):
        return declared
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return None


def pilco_action(observation: Belief, action: ActionBelief) -> TensorDictBase:
    """An action as PILCO's policies write it: mean, var and cross_covariance, zero if None."""
    shape = action.mean.shape[:-1]
    size, actions = observation.mean.shape[-1], action.mean.shape[-1]
    zeros = action.mean.new_zeros
    var = zeros((*shape, actions, actions)) if action.var is None else action.var
    cross = action.cross_covariance
    cross = zeros((*shape, size, actions)) if cross is None else cross
    return TensorDict({"mean": action.mean, "var": var, "cross_covariance": cross}, shape)
