"""Descriptions of envs for the tests of policies."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription

INF = float("inf")


def box_env(low: Any = (-2.0,), high: Any = (2.0,), observation_size: int = 3) -> EnvDescription:
    return _env(np.array(low, dtype=float), np.array(high, dtype=float), [], observation_size)


def discrete_env(*choices: int, observation_size: int = 3) -> EnvDescription:
    size = sum(choices)
    return _env(np.zeros(size), np.ones(size), list(choices), observation_size)


def _env(low: np.ndarray, high: np.ndarray, choices: list[int], size: int) -> EnvDescription:
    return EnvDescription(
        id="Test-v0",
        kwargs={},
        observation_size=size,
        observation_low=np.full(size, -INF),
        observation_high=np.full(size, INF),
        observation_names=[f"x{k}" for k in range(size)],
        action_size=low.size,
        action_low=low,
        action_high=high,
        choices=choices,
    )
