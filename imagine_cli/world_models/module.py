"""Somebody else's TensorDictModule, asked at points, so that every propagation goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.batch_invariant import BatchInvariantProducts
from imagine_cli.world_models.interfaces import Conditional
from imagine_cli.world_models.output_keys import as_conditional, output_name, present
from imagine_cli.world_models.process_noise import check_process_noise, process_variances
from imagine_cli.world_models.tiles import in_tiles

_REWARD = ("next", "reward")

Key = str | tuple[str, ...]


class WrappedModule(WorldModel):
    """What the world models that wrap a TensorDictModule, which is code and no plain data, share.

    Args:
        module: the TensorDictModule.
        observation_size, action_size: D and F.
        next_observation_key: where it writes, as :class:`~imagine_cli.ImaginedEnv` takes it.
    """

    kind = "module"

    def __init__(
        self, module: torch.nn.Module, observation_size: int, action_size: int, key: Key
    ) -> None:
        super().__init__()
        self.module = module
        self.observation_size, self.action_size = observation_size, action_size
        self.next_observation_key = key

    def config(self) -> dict[str, Any]:
        raise InputError("a module is code, and no plain data; imagine_cli.export_world_model it")

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> WrappedModule:
        raise InputError("a module is code, and is not made of plain data")


class ModuleWorldModel(WrappedModule):
    """A TensorDictModule that takes plain observations and actions, as a world model.

    It reads ``"observation"`` ``(N, D)`` and ``"action"`` ``(N, F)`` and writes the mean of the
    next observation, perhaps its variances ``(N, D)`` or covariance ``(N, D, D)``, perhaps a
    reward. Left alone such a module is its own propagation in an
    :class:`~imagine_cli.ImaginedEnv`; as this it goes with those of this package. A module that
    writes no var is deterministic, and gets ``process_noise``.

    Args:
        module, observation_size, action_size, next_observation_key: of :class:`WrappedModule`.
        process_noise: standard deviations ``(D,)`` of what comes to the next observation; zero
            if None.
        dtype: of the beliefs; None takes what the module declares, else torch's default.

    Raises:
        InputError: a module that doesn't take plain observations, or writes other shapes.
    """

    _noise: Tensor

    def __init__(
        self,
        module: torch.nn.Module,
        observation_size: int,
        action_size: int,
        *,
        next_observation_key: Key = ("next", "observation"),
        process_noise: Sequence[float] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(module, observation_size, action_size, next_observation_key)
        computes_in = declared_dtype(module) or dtype or torch.get_default_dtype()
        self.dtype = dtype or computes_in
        told = check_process_noise(process_noise, observation_size, computes_in)
        noise = process_variances(told, observation_size, computes_in)
        self.register_buffer("_noise", noise, persistent=False)
        self.has_reward = self._tried().reward_mean is not None
        if self.has_reward:
            self.out_keys += [("next", "reward", "mean"), ("next", "reward", "var")]

    @property
    def computes_in(self) -> torch.dtype:
        """The dtype of the module's numbers, which ``float()`` and ``double()`` change."""
        return self._noise.dtype

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape, size = x.shape[:-1], self.observation_size
        points = torch.cat([x, u], dim=-1).to(self.computes_in).reshape(-1, size + self.action_size)
        found = in_tiles(lambda tile: present(self._at(tile)), points)
        parts = [part.to(self.dtype).reshape(*shape, *part.shape[1:]) for part in found]
        return Conditional(*parts)

    def _at(self, points: Tensor) -> Conditional:
        x = points[:, : self.observation_size].contiguous()
        u = points[:, self.observation_size :].contiguous()
        given = TensorDict({"observation": x, "action": u}, x.shape[:1], device=x.device)
        with BatchInvariantProducts():
            out = self.module(given)
        found = written(out, self.next_observation_key, self.module)
        found = {name: value.to(self.computes_in) for name, value in found.items()}
        return as_conditional(found, x, difference=False, noise=self._noise)

    def _tried(self) -> Conditional:
        """What it says at two points. Raises InputError where it says nothing usable."""
        device = next((each.device for each in self.module.parameters()), None)
        points = torch.zeros(2, self.observation_size + self.action_size, device=device)
        self._noise = self._noise.to(points.device)
        try:
            with torch.no_grad():
                return self._at(points.to(self.computes_in))
        except Exception as error:  # a module may raise anything at all
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise InputError(
                f"a propagation asks the world model at points, and the "
                f"{type(self.module).__name__} can't be asked there ({reason}); leave the "
                "propagation out, and it propagates beliefs in its own way"
            ) from error


def written(out: TensorDictBase, key: Key, module: torch.nn.Module) -> dict[str, Tensor]:
    """What a world model wrote: ``"mean"``, and where it did ``"var"`` and the reward's.

    The reward is at ``("next", "reward")``, or at ``"reward"`` where the module says so.

    Raises InputError where it wrote no mean at ``key``.
    """
    parts = _moments(out.get(key, None))
    if "mean" not in parts:
        raise InputError(
            f"the world model wrote nothing at next_observation_key {key!r}, or no 'mean' below "
            f"it; it wrote {sorted(map(str, out.keys(True, True)))}"
        )
    reward = _moments(out.get(_REWARD, None))
    if not reward and any(map(_is_reward_of_root, getattr(module, "out_keys", []))):
        reward = _moments(out.get("reward", None))
    return parts | {f"reward_{name}": value for name, value in reward.items()}


def _moments(entry: Any) -> dict[str, Tensor]:
    """``"mean"`` and ``"var"`` of an entry: a tensor is the mean, and they may be below it."""
    if isinstance(entry, Tensor):
        return {"mean": entry}
    if not isinstance(entry, TensorDictBase):
        return {}
    below = {name: entry.get(name, None) for name in ("mean", "var")}
    return {name: value for name, value in below.items() if isinstance(value, Tensor)}


def _is_reward_of_root(key: Any) -> bool:
    parts = (key,) if isinstance(key, str) else key
    return parts[0] == "reward" and output_name(key) in ("reward_mean", "reward_var")


def declared_dtype(module: torch.nn.Module) -> torch.dtype | None:
    """What a module says its dtype is, else that of its numbers; None where it has none."""
    declared = getattr(module, "dtype", None)
    if isinstance(declared, torch.dtype):
        return declared
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return None
