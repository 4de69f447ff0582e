"""What the entries that a module writes are: the keys of a world model's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.base import Conditional

__all__ = ["as_conditional", "role", "roles"]

_OBSERVATION = (("next", "observation"), ("next_observation",))
_REWARD = (("next", "reward"), ("reward",))


def role(key: Any) -> str | None:
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


def roles(keys: Sequence[Any]) -> list[str | None]:
    """The role of each key. Raises InputError where none, or two, are the mean."""
    found = [role(key) for key in keys]
    named = [name for name in found if name is not None]
    if found.count("mean") != 1 or len(set(named)) != len(named):
        raise InputError(
            "a world model writes one mean of the next observation, at ('next', 'observation', "
            "'mean') or ('next', 'observation'), and at most one 'var', reward and reward 'var'; "
            f"these keys don't: {[key if isinstance(key, str) else list(key) for key in keys]}"
        )
    return found


def as_conditional(
    found: dict[str, Tensor], x: Tensor, *, difference: bool, noise: Tensor
) -> Conditional:
    """What was written at points ``x`` ``(N, D)``, by role, as a distribution.

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
    mean, var = found["mean"], found.get("var")
    if tuple(mean.shape) != shape:
        raise InputError(f"it gives a mean of shape {tuple(mean.shape)} at {shape} observations")
    if var is None:
        var = noise.expand(shape)
    elif tuple(var.shape) not in (shape, (*shape, shape[-1])):
        raise InputError(f"it gives a var of shape {tuple(var.shape)} at {shape} observations")
    rewards: list[Tensor | None] = []
    for name in ("reward_mean", "reward_var"):
        value = found.get(name)
        if value is not None and value.numel() != shape[0]:
            raise InputError(
                f"it gives a reward of shape {tuple(value.shape)} at {shape[0]} points"
            )
        rewards.append(None if value is None else value.reshape(shape[0]))
    if rewards[0] is not None and rewards[1] is None:
        rewards[1] = rewards[0] * 0.0
    return Conditional(x + mean if difference else mean, var, *rewards)
