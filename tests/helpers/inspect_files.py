"""Rollouts for the tests of `imagine inspect`: a linear-Gaussian system, by numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.recording import RolloutHeader, write_rollout

NAMES = ["angle", "angle_dot"]


class Numbers(NamedTuple):
    mean: np.ndarray
    var: np.ndarray
    action: np.ndarray
    reward: np.ndarray


def linear_gaussian(trajectories: int, steps: int, seed: int = 0) -> Numbers:
    """x' = A x + B u + w from certain starts: a damped oscillator under random pushes."""
    rng = np.random.default_rng(seed)
    a, b, noise = np.array([[1.0, 0.1], [-0.1, 0.95]]), np.array([0.0, 0.1]), 1e-3 * np.eye(2)
    mean = np.empty((trajectories, steps + 1, 2))
    var = np.zeros((trajectories, steps + 1, 2, 2))
    action = rng.uniform(-1, 1, size=(trajectories, steps, 1))
    mean[:, 0] = rng.uniform(-0.3, 0.3, size=(trajectories, 2))
    for t in range(steps):
        mean[:, t + 1] = mean[:, t] @ a.T + action[:, t] * b
        var[:, t + 1] = a @ var[:, t] @ a.T + noise
    var = 0.5 * (var + var.swapaxes(-1, -2))
    return Numbers(mean, var, action, -(mean[:, 1:] ** 2).sum(-1))


def save(path: Path, numbers: Numbers, *, reward: bool = True, **header: Any) -> Path:
    """Write them as a rollout of so many trajectories and steps; ``path`` again."""
    facts: dict[str, Any] = {
        "command": "imagine rollout --env Swing-v0 --model wm.pt",
        "env_id": "Swing-v0",
        "env_kwargs": {"g": 9.81},
        "policy": "random",
        "propagation": "moment-matching",
        "seed": 7,
        "steps": numbers.action.shape[1],
        "trajectories": numbers.action.shape[0],
        "model_path": "wm.pt",
        "model_sha256": "0123456789abcdef" * 4,
        "model_kind": "linear-gaussian",
        "observation_names": NAMES,
        "action_names": ["torque"],
        "observation_low": [-2.0, -np.inf],
        "observation_high": [2.0, np.inf],
        "extra": {"start": "reset"},
    }
    fields = {
        "observation/mean": numbers.mean,
        "observation/var": numbers.var,
        "action/mean": numbers.action,
    }
    if reward:
        fields |= {"reward/mean": numbers.reward, "reward/var": 0 * numbers.reward + 0.25}
    write_rollout(path, RolloutHeader(**{**facts, **header}), fields)
    return path
