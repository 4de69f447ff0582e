"""What a rollout file says of itself, version 1, and the chunks that its datasets have.

The root has the attributes ``format``, ``format_version``, ``complete`` and those of RolloutHeader;
the group ``observation`` has ``low`` and ``high`` ``(D,)``. The datasets are those of
:data:`~imagine_cli.recording.fields.FIELDS`. Each axis has a label (trajectory, step, observation,
action, particle) and, in the same group, a dimension scale.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = "imagine-rollout"
FORMAT_VERSION = 1

LIBRARIES = ("imagine", "torch", "torchrl", "gymnasium", "h5py")

MAX_SIZE = 4096
"""The most observation (or action) dimensions: one covariance of so many is 128 MiB."""

_CHUNK_BYTES = 512 * 1024
_LEAST_STEPS = 64


def installed_versions() -> dict[str, str]:
    """The versions a rollout file names, of what is installed here. Imports none of it."""
    versions = {}
    for library in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            distribution = "imagine-cli" if library == "imagine" else library
            versions[library] = metadata.version(distribution)
    return versions


@dataclass(frozen=True)
class RolloutHeader:
    """What a rollout file says of itself, beside the numbers.

    ``trajectories`` is B, ``steps`` is T; D and F are the numbers of names. ``observation_low``
    and ``observation_high`` are the observation space's bounds ``(D,)``, infinite where it has
    none. ``extra`` becomes further root attributes.
    """

    command: str
    env_id: str
    env_kwargs: Mapping[str, Any]
    policy: str
    propagation: str
    seed: int
    steps: int
    trajectories: int
    model_path: str
    model_sha256: str
    model_kind: str
    observation_names: Sequence[str]
    action_names: Sequence[str]
    observation_low: npt.ArrayLike
    observation_high: npt.ArrayLike
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    extra: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    created: str = field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )

    def attributes(self) -> dict[str, str | int | float | bool]:
        """The root attributes, without ``complete``. Raises ValueError where two share a name."""
        own: dict[str, str | int | float | bool] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created": self.created,
            "command": self.command,
            "env_id": self.env_id,
            "policy": self.policy,
            "propagation": self.propagation,
            "seed": self.seed,
            "steps": self.steps,
            "trajectories": self.trajectories,
            "model_path": self.model_path,
            "model_sha256": self.model_sha256,
            "model_kind": self.model_kind,
            "env_kwargs": json.dumps(dict(self.env_kwargs), sort_keys=True, default=str),
        }
        own.update({f"{library}_version": text for library, text in self.versions.items()})
        taken = sorted({"complete", *own} & set(self.extra))
        if taken:
            raise ValueError(f"extra attributes {taken} have the names of the format's own")
        return {name: _utf8(value) for name, value in {**own, **self.extra}.items()}

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``observation_low`` and ``observation_high`` as float64 ``(D,)``."""
        low = np.asarray(self.observation_low, dtype=np.float64)
        high = np.asarray(self.observation_high, dtype=np.float64)
        size = (len(self.observation_names),)
        if low.shape != size or high.shape != size:
            raise ValueError(
                f"observation_low {low.shape} and observation_high {high.shape} must be {size}, "
                "one number for each observation name"
            )
        return low, high


def _utf8(value: Any) -> Any:
    """Text as HDF5 can hold it: the name of a file may be any bytes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def chunk_lengths(trajectories: int, steps: int, row_bytes: int) -> tuple[int, int]:
    """How many trajectories and steps a chunk of covariances spans: ``(b, t)``.

    ``row_bytes`` is the size of one covariance. A chunk has about half a MiB (one covariance
    where that is larger), and along time at least 64 steps where it can, so that reading one
    trajectory and reading one step are both cheap.
    """
    rows = max(1, _CHUNK_BYTES // row_bytes)
    t = min(steps, rows, max(_LEAST_STEPS, rows // trajectories))
    return max(1, min(trajectories, rows // t)), t
