"""Recorded actions as world models take them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import is_one_hot, one_hot


def encode(actions: np.ndarray, env: EnvDescription, place: Callable[[int], str]) -> np.ndarray:
    """``(N, F)`` float64, one-hot where the env's actions are discrete.

    Args:
        actions: ``(N, F)``; ``(N,)`` where F is 1; of a discrete env the numbers of the choices,
            ``(N,)`` or ``(N, K)`` with K the number of choices to make, or their one-hot codes
            ``(N, F)``.
        env: whose actions they are.
        place: says where row number k is, for errors.

    Raises:
        InputError: another shape, or numbers that are no such action.
    """
    table = actions.reshape(len(actions), -1).astype(np.float64)
    width = table.shape[1]
    lost = ~np.isfinite(table).all(axis=1)
    if lost.any():
        raise InputError(f"the action at {place(int(np.argmax(lost)))} is not finite")
    if not env.is_discrete:
        if width != env.action_size:
            raise InputError(
                f"the actions have the shape {actions.shape}; an action of {env.id} is "
                f"{env.action_size} numbers: ({len(actions)}, {env.action_size})"
            )
        return table
    counts = " and ".join(map(str, env.choices))
    if width == len(env.choices):
        largest = np.array(env.choices) - 1
        wrong = np.not_equal(table, np.clip(np.floor(table), 0, largest)).any(axis=1)
        why = f"none of {env.id}, which has {{}} choices, counted from 0"
    elif width == env.action_size:
        wrong = ~is_one_hot(table, env.choices)
        why = f"no one-hot code of {env.id}'s {{}} choices"
    else:
        raise InputError(
            f"the actions have the shape {actions.shape}; an action of {env.id} is "
            f"{len(env.choices)} of {counts} choices, or its code of {env.action_size} zeros and "
            "ones"
        )
    if wrong.any():
        row = int(np.argmax(wrong))
        numbers = ", ".join(f"{number:g}" for number in table[row])
        raise InputError(f"the action {numbers} at {place(row)} is {why.format(counts)}")
    return table if width == env.action_size else one_hot(table.astype(np.int64), env.choices)
