"""Numbers as actions of an env: one-hot codes and bounds. No torch."""

from __future__ import annotations

import numpy as np

from imagine_cli.environments import EnvDescription


def sizes(env: EnvDescription) -> str:
    """The env and its sizes, for the end of a sentence."""
    return f"env {env.id!r} has D = {env.observation_size} and F = {env.action_size}"


def one_hot(numbers: np.ndarray, choices: list[int]) -> np.ndarray:
    """``(..., C)`` integers, one for each of C choices -> ``(..., F)`` zeros and ones, float64."""
    return np.concatenate(
        [np.eye(n)[numbers[..., k]] for k, n in enumerate(choices)], axis=-1, dtype=np.float64
    )


def is_one_hot(codes: np.ndarray, choices: list[int]) -> np.ndarray:
    """Which of ``(..., F)`` are one-hot for every choice: ``(...)`` bool."""
    zeros_and_ones = ((codes == 0) | (codes == 1)).all(axis=-1)
    ends = np.cumsum(choices)
    for end, n in zip(ends, choices, strict=True):
        zeros_and_ones &= codes[..., end - n : end].sum(axis=-1) == 1
    return np.asarray(zeros_and_ones)


def outside_bounds(values: np.ndarray, env: EnvDescription) -> np.ndarray:
    """Which of ``(..., F)`` the env would not take, ``(..., F)`` bool.

    A number whose float32 is inside counts as inside: 0.7 is no more than a bound of 0.7 that the
    env keeps in float32.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    below = (values < env.action_low) & (rounded < env.action_low)
    above = (values > env.action_high) & (rounded > env.action_high)
    return np.asarray(below | above)


def symmetric_bounds(env: EnvDescription) -> np.ndarray | None:
    """``m`` ``(F,)`` where the actions lie between ``-m`` and ``m``, both finite; else None."""
    high = env.action_high
    if env.is_discrete or not np.isfinite(high).all() or not (env.action_low == -high).all():
        return None
    return high
