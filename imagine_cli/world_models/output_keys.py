"""What the entries that a module writes are: the keys of a world model's outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.interfaces import Conditional

_OBSERVATION = (("next", "observation"), ("next_observation",))
_REWARD = (("next", "reward"), ("reward",))


def output_name(key: Any) -> str | None:
    """``"mean"``, ``"var"``, ``"reward_mean"`` or ``"reward_var"``; None for any other entry.

    The next observation is ``("next", "observation")`` or ``"next_observation"``, alone or with
    ``"mean"`` and ``"var"`` below; the reward is ``("next", "reward")`` or ``"reward"`` likewise.
    """
    parts = (key,) if isinstance(key, str) else tuple(key)
    last = parts[-1] if parts and parts[-1] in ("mean", "var") else None
    whole = parts[:-1] if last else parts
    if whole in _OBSERVATION:
        return last or "mean"
    if whole in _REWARD:
        return f"reward_{last or 'mean'}"
    return None


def output_names(keys: Sequence[Any]) -> list[str | None]:
    """The name of each key.

    Raises InputError where none, or two, are the mean, or a reward has a var and no mean.
    """
    found = [output_name(key) for key in keys]
    named = [name for name in found if name is not None]
    if found.count("mean") != 1 or len(set(named)) != len(named):
        raise InputError(
            "a world model writes one mean of the next observation, at ('next', 'observation', "
            "'mean') or ('next', 'observation'), and at most one 'var', reward and reward 'var'; "
            f"these keys don't: {_listed(keys)}"
        )
    if "reward_var" in named and "reward_mean" not in named:
        raise InputError(
            "a reward 'var' needs a reward's mean beside it, at ('next', 'reward', 'mean') or "
            f"('next', 'reward'); these keys have none: {_listed(keys)}"
        )
    return found


def present(at: Conditional) -> tuple[Tensor, ...]:
    """The parts that there are."""
    return tuple(part for part in at if part is not None)


def _listed(keys: Sequence[Any]) -> list[Any]:
    return [key if isinstance(key, str) else list(key) for key in keys]


def check_shapes(found: dict[str, Tensor], shape: tuple[int, ...]) -> None:
    """Raises InputError unless what was written, by name, is that at observations ``(*S, D)``.

    The mean is ``(*S, D)``; a var ``(*S, D)`` or ``(*S, D, D)``; a reward and its variance have a
    number for each of ``*S``.
    """
    mean, var = found["mean"], found.get("var")
    if tuple(mean.shape) != shape:
        raise InputError(f"it gives a mean of shape {tuple(mean.shape)} at {shape} observations")
    if var is not None and tuple(var.shape) not in (shape, (*shape, shape[-1])):
        raise InputError(f"it gives a var of shape {tuple(var.shape)} at {shape} observations")
    points = math.prod(shape[:-1])
    for name in ("reward_mean", "reward_var"):
        if name in found and found[name].numel() != points:
            raise InputError(
                f"it gives a reward of shape {tuple(found[name].shape)} at {points} points"
            )
    if "reward_var" in found and "reward_mean" not in found:
        raise InputError("it gives the variance of a reward, and no mean of it")


def as_conditional(
    found: dict[str, Tensor], x: Tensor, *, difference: bool, noise: Tensor
) -> Conditional:
    """What was written at points ``x`` ``(N, D)``, by name, as a distribution.

    Args:
        found: the mean ``(N, D)``; a var ``(N, D)`` or ``(N, D, D)``; reward and its variance
            ``(N,)`` or ``(N, 1)``.
        x: the observations.
        difference: whether the mean is that of the difference from x.
        noise: process variances ``(D,)`` of a module that gives no var.

    Raises:
        InputError: shapes that are none of these.
    """
    shape = tuple(x.shape)
    check_shapes(found, shape)
    mean = x + found["mean"] if difference else found["mean"]
    var = found["var"] if "var" in found else noise.expand(shape)
    if "reward_mean" not in found:
        return Conditional(mean, var)
    reward = found["reward_mean"].reshape(shape[0])
    spread = found["reward_var"].reshape(shape[0]) if "reward_var" in found else reward * 0.0
    return Conditional(mean, var, reward, spread)
