"""Rollouts made of plain numbers, for the tests of the recording."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.recording import FIELDS, RolloutHeader, RolloutWriter, Shard

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


def write(path: Path, arrays: Arrays, *, order: int | None = None, **options: Any) -> None:
    """Write ``arrays`` in shards, in a random order where one is given. No ``options`` needed."""
    mean = arrays["observation/mean"]
    b, t, d = mean.shape[0], mean.shape[1] - 1, mean.shape[2]
    f = arrays["action/mean"].shape[2] if "action/mean" in arrays else 1
    about = header(b, t, d, f, **options.pop("header", {}))
    with writer_of(path, arrays, about, **options) as writer:
        shards = list(writer.shards)
        if order is not None:
            random.Random(order).shuffle(shards)
        for shard in shards:
            if not writer.has(shard):
                writer.write(shard, part(arrays, writer, shard), {"k": np.array(shard)})


def writer_of(path: Path, arrays: Arrays, about: RolloutHeader, **options: Any) -> RolloutWriter:
    particles = arrays.get("particles/observation")
    count = None if particles is None else particles.shape[1]
    return RolloutWriter(path, about, fields=arrays, particles=count, **options)


def part(arrays: Arrays, writer: RolloutWriter, shard: Shard) -> Arrays:
    """A shard's numbers."""
    places = {name: writer.manifest.grid.place(FIELDS[name], shard) for name in arrays}
    return {name: values[places[name]] for name, values in arrays.items()}


def write_plainly(path: Path, arrays: Arrays, **attributes: Any) -> None:
    """As another program might: the schema's datasets, without scales, chunks or filters."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "imagine-rollout"
        file.attrs["format_version"] = 1
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, values in arrays.items():
            file[name] = values
