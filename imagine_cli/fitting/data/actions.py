"""Recorded actions as world models take them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError

__all__ = ["encode"]


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
    if width == len(env.choices):
        return _from_numbers(table, env, place)
    if width == env.action_size:
        return _from_codes(table, env, place)
    raise InputError(
        f"the actions have the shape {actions.shape}; an action of {env.id} is {len(env.choices)} "
        f"of {' and '.join(map(str, env.choices))} choices, or its code of {env.action_size} zeros "
        "and ones"
    )


def _from_numbers(
    table: np.ndarray, env: EnvDescription, place: Callable[[int], str]
) -> np.ndarray:
    good = (table == np.floor(table)) & (table >= 0) & (table < np.array(env.choices))
    if not good.all():
        row = int(np.argmin(good.all(axis=1)))
        raise InputError(
            f"the action {_text(table[row])} at {place(row)} is none of {env.id}, which has "
            f"{' and '.join(map(str, env.choices))} choices, counted from 0"
        )
    distinct, which = np.unique(table, axis=0, return_inverse=True)
    codes = np.stack([env.encode_action(action) for action in distinct])
    return np.asarray(codes[which.reshape(-1)])


def _from_codes(table: np.ndarray, env: EnvDescription, place: Callable[[int], str]) -> np.ndarray:
    starts = np.cumsum([0, *env.choices[:-1]])
    good = ((table == 0) | (table == 1)).all(axis=1)
    good &= (np.add.reduceat(table, starts, axis=1) == 1).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise InputError(
            f"the action {_text(table[row])} at {place(row)} is no one-hot code of {env.id}'s "
            f"{' and '.join(map(str, env.choices))} choices"
        )
    return table


def _text(row: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in row)
