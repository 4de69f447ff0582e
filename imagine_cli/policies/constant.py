"""The policies ``constant:...`` and ``zero``: one action, for ever."""

from __future__ import annotations

import math

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import outside_bounds
from imagine_cli.policies.base import Policy, PolicyContext, PolicyState


class ConstantPolicy(Policy):
    """The same action ``(F,)`` at every step of every trajectory."""

    def __init__(
        self,
        action: np.ndarray,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self._action = torch.as_tensor(action, dtype=dtype, device=device)

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        action = self._action.to(observation.mean)
        return ActionBelief(action.expand(*observation.mean.shape[:-1], -1)), state


def parse_action(text: str, env: EnvDescription) -> np.ndarray:
    """``"0.5,-1"`` -> ``(F,)``; for a discrete env ``"1"`` or ``"0,2"`` -> one-hot ``(F,)``.

    Raises InputError on a wrong count, on what is no number, and on what is out of bounds.
    """
    whole = f"policy 'constant:{text}'"
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    needed = len(env.choices) or env.action_size
    what = "integer" if env.is_discrete else "number"
    if len(parts) != needed:
        raise InputError(
            f"{whole} has {_count(len(parts), what)}; an action of env {env.id!r} is "
            f"{_count(needed, what)}, with commas between"
        )
    if env.is_discrete:
        numbers = [_integer(part, whole) for part in parts]
        for k, (number, n) in enumerate(zip(numbers, env.choices, strict=True)):
            if not 0 <= number < n:
                raise InputError(
                    f"{whole}: integer {k + 1} is {number}; env {env.id!r} takes 0 to {n - 1}"
                )
        return env.encode_action(numbers)
    values = np.array([_number(part, whole) for part in parts])
    for k in np.flatnonzero(outside_bounds(values, env)).tolist():
        raise InputError(
            f"{whole}: number {k + 1} is {values[k]:g}, outside the {env.action_low[k]:g} to "
            f"{env.action_high[k]:g} of env {env.id!r}"
        )
    return np.asarray(np.clip(values, env.action_low, env.action_high))


def _number(text: str, whole: str) -> float:
    try:
        value = float(text.replace("_", "x"))  # 1_000 is no number here
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{whole}: {text!r} is not a finite number")
    return value


def _integer(text: str, whole: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise InputError(f"{whole}: {text!r} is not an integer; this env's actions are discrete")
    return int(text)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def make(argument: str, context: PolicyContext) -> ConstantPolicy:
    """``constant:0.5,-1``."""
    return ConstantPolicy(parse_action(argument, context.env), context.dtype, context.device)


def make_zero(argument: str, context: PolicyContext) -> ConstantPolicy:
    """``zero``: zeros clipped into the bounds; action 0 of every choice of a discrete env."""
    if argument:
        raise InputError(f"policy 'zero:{argument}': zero takes nothing after it")
    env = context.env
    if env.is_discrete:
        action = env.encode_action(np.zeros(len(env.choices), dtype=np.int64))
    else:
        action = np.clip(np.zeros(env.action_size), env.action_low, env.action_high)
    return ConstantPolicy(action, context.dtype, context.device)
