"""Rollouts made of plain numbers, for the tests of the recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.recording import RolloutHeader, RolloutWriter

Arrays = dict[str, np.ndarray]


def header(b: int, t: int, d: int = 3, f: int = 1, **changes: Any) -> RolloutHeader:
    facts: dict[str, Any] = {
        "command": "imagine rollout --env Pendulum-v1 --model wm.pt --steps 50",
        "env_id": "Pendulum-v1",
        "env_kwargs": {"g": 9.81},
        "policy": "random",
        "propagation": "moment-matching",
        "seed": 7,
        "steps": t,
        "trajectories": b,
        "model_path": "wm.pt",
        "model_sha256": "0123456789abcdef" * 4,
        "model_kind": "gaussian-process",
        "observation_names": [f"o{i}" for i in range(d)],
        "action_names": [f"a{i}" for i in range(f)],
        "observation_low": np.full(d, -np.inf),
        "observation_high": np.full(d, np.inf),
    }
    return RolloutHeader(**{**facts, **changes})


def numbers(b: int, t: int, d: int = 3, f: int = 1, p: int | None = None, seed: int = 0) -> Arrays:
    """Every dataset of a rollout, by its name in the file, with real covariances."""
    rng = np.random.default_rng(seed)

    def covariances(*shape: int) -> np.ndarray:
        root = rng.normal(size=(*shape, shape[-1]))
        return root @ root.swapaxes(-1, -2)

    arrays = {
        "observation/mean": rng.normal(size=(b, t + 1, d)),
        "observation/var": covariances(b, t + 1, d),
        "action/mean": rng.normal(size=(b, t, f)),
        "action/var": covariances(b, t, f),
        "reward/mean": rng.normal(size=(b, t)),
        "reward/var": rng.uniform(size=(b, t)),
    }
    if p is not None:
        arrays["particles/observation"] = rng.normal(size=(b, p, t + 1, d))
    return arrays


def write(
    path: Path, arrays: Arrays, *, rows: int = 10**9, block: int = 10**9, **options: Any
) -> None:
    """Write ``arrays``, so many trajectories and steps a block; None of ``options`` needed."""
    mean = arrays["observation/mean"]
    b, t, d = mean.shape[0], mean.shape[1] - 1, mean.shape[2]
    changes = options.pop("header", {})
    particles = arrays.get("particles/observation")
    with RolloutWriter(
        path,
        header(b, t, d, arrays["action/mean"].shape[2], **changes),
        action_var="action/var" in arrays,
        reward="reward/mean" in arrays,
        reward_var="reward/var" in arrays,
        particles=None if particles is None else particles.shape[1],
        **options,
    ) as writer:
        for first in range(0, b, rows):
            chosen = slice(first, first + rows)
            start = None if particles is None else particles[chosen, :, 0]
            writer.write_start(first, mean[chosen, 0], arrays["observation/var"][chosen, 0], start)
            for step in range(0, t, block):
                now, after = slice(step, step + block), slice(step + 1, step + 1 + block)

                def part(name: str, steps: slice, chosen: slice = chosen) -> np.ndarray | None:
                    return arrays[name][chosen, steps] if name in arrays else None

                writer.write(
                    first,
                    step,
                    observation_mean=mean[chosen, after],
                    observation_var=arrays["observation/var"][chosen, after],
                    action_mean=arrays["action/mean"][chosen, now],
                    action_var=part("action/var", now),
                    reward_mean=part("reward/mean", now),
                    reward_var=part("reward/var", now),
                    particles=None if particles is None else particles[chosen, :, after],
                )


def write_plainly(path: Path, arrays: Arrays, **attributes: Any) -> None:
    """As another program might: the schema's datasets, without scales, chunks or filters."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "imagine-rollout"
        file.attrs["format_version"] = 1
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, values in arrays.items():
            file[name] = values
