"""Reading a rollout file, by us or by anyone who follows the schema, a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.observation_names import observation_names
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.fields import FIELDS, axis_label
from imagine_cli.recording.layout import check_format, read_layout, read_names
from imagine_cli.recording.partial_reader import PartialRollout
from imagine_cli.recording.probe import check_survives
from imagine_cli.recording.provenance import Finding, Provenance

_SLAB_BYTES = 16 * 1024 * 1024

Index = int | slice
_ALL = slice(None)


def open_rollout(path: str | os.PathLike[str]) -> Rollout:
    """Open a rollout file, or the ``.partial`` folder of one, for reading, as a context manager.

    A folder shows what is there at each moment, NaN elsewhere, while it is written and merged
    too. Nothing but the header is read yet. Links out of the file are never followed.

    Raises:
        InputError: no such file, not a rollout, a later version of the format, datasets that are
            missing or whose shapes disagree, numbers kept outside the file.
    """
    path = Path(path)
    check_survives(lambda: _touch(path), path)
    return Rollout(path)


def _touch(path: Path) -> None:
    """Read a little of everything in the file."""
    rollout = Rollout(path)
    for name in rollout.datasets:
        for place in (0, -1):
            rollout.numbers(name, place, place)


class Rollout(Provenance):
    """An open rollout file.

    Attributes:
        path: the file, or the folder.
        attributes: its root attributes, those of RolloutHeader and any others.
        format_version: of the rollout format.
        trajectories, steps: B and T.
        observation_size: D.
        action_size: F, None in a file without actions.
        particle_count: P, None in a file without particles.
        dtype: of the observation means.
        observation_names, action_names: as in the file, else the env's usual ones.
        observation_low, observation_high: ``(D,)`` float64, infinite where there is no bound.
        warnings: what is odd about the file, nothing of which keeps it from being read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._datasets: dict[str, Any]
        (self._open_folder if path.is_dir() else self._open_file)()
        self.trajectories, self.steps = self._sizes["trajectory"], self._sizes["step"]
        self.observation_size = self._sizes["observation"]
        self.action_size = self._sizes.get("action")
        self.particle_count = self._sizes.get("particle")
        self.dtype: np.dtype[Any] = self._datasets["observation/mean"].dtype
        self.warnings = self._oddities()

    def _open_folder(self) -> None:
        partial = PartialRollout(self.path)
        manifest = partial.manifest
        self.attributes = {**manifest.attributes, "complete": partial.complete()}
        self.format_version = check_format(self.attributes, self.path)
        self._datasets = dict(partial.datasets)
        labels = {axis_label(axis) for name in partial.datasets for axis in FIELDS[name].axes}
        self._sizes = {label: manifest.sizes[label] for label in labels}
        self.observation_names = manifest.observation_names
        self.action_names = manifest.action_names
        self.observation_low, self.observation_high = manifest.bounds()

    def _open_file(self) -> None:
        self._file = safe_hdf5.open_file(self.path)
        try:
            self.attributes = safe_hdf5.attributes(self._file, self.path)
            self.format_version = check_format(self.attributes, self.path)
            self._datasets, self._sizes = read_layout(self._file, self.path)
            size, actions = self._sizes["observation"], self._sizes.get("action", 0)
            self.observation_names = self._read_names("observation", size)
            self.action_names = self._read_names("action", actions)
            self.observation_low, self.observation_high = self._read_bounds(size)
        except BaseException:
            safe_hdf5.close(self._file)
            raise

    def __enter__(self) -> Rollout:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        if self._file is not None:
            safe_hdf5.close(self._file)

    @property
    def stored_bytes(self) -> int:
        """What it takes on the disk."""
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files)

    @property
    def datasets(self) -> dict[str, tuple[int, ...]]:
        """The datasets of the schema that the file has, with their shapes."""
        return {name: tuple(dataset.shape) for name, dataset in self._datasets.items()}

    def __contains__(self, dataset: str) -> bool:
        return dataset in self._datasets

    def mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of the observations: ``(B, T+1, D)``, an axis less for each index that is a number."""
        return self.numbers("observation/mean", trajectory, step)

    def var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of the observations: ``(B, T+1, D, D)``."""
        return self.numbers("observation/var", trajectory, step)

    def action_mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T, F)``."""
        return self.numbers("action/mean", trajectory, step)

    def action_var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T, F, F)``."""
        return self.numbers("action/var", trajectory, step)

    def reward_mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T)``."""
        return self.numbers("reward/mean", trajectory, step)

    def reward_var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T)``."""
        return self.numbers("reward/var", trajectory, step)

    def particles(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, P, T+1, D)``."""
        return self.numbers("particles/observation", trajectory, step)

    def slabs(
        self, dataset: str = "observation/var", trajectory: int | None = None
    ) -> Iterator[tuple[slice, slice]]:
        """Trajectories and steps in pieces of at most a few MiB of ``dataset``.

        The pieces follow the dataset's chunks, trajectories before steps.
        """
        found = self.dataset(dataset)
        axis = FIELDS[dataset].step_axis
        count, length = found.shape[0], found.shape[axis]
        row_bytes = max(1, found.size // (count * length)) * found.dtype.itemsize
        chunk_b, chunk_t = (found.chunks[0], found.chunks[axis]) if found.chunks else (1, 1)
        rows = max(1, _SLAB_BYTES // row_bytes)
        b0, b1 = (0, count) if trajectory is None else (trajectory, trajectory + 1)
        t = min(length, max(1, rows // min(chunk_b, b1 - b0) // chunk_t) * chunk_t)
        b = max(1, rows // t // chunk_b) * chunk_b
        for first in range(b0, b1, b):
            for step in range(0, length, t):
                yield slice(first, min(first + b, b1)), slice(step, min(step + t, length))

    def numbers(self, dataset: str, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of any dataset of the schema, by its name, as the methods above give it."""
        axes = FIELDS[dataset].axes if dataset in FIELDS else ()
        place = tuple({"trajectory": trajectory, "step": step}.get(axis, _ALL) for axis in axes)
        try:
            return safe_hdf5.read(self.dataset(dataset), place, self.path)
        except FileNotFoundError:  # the folder has come to its end since it was opened
            self._follow()
            return safe_hdf5.read(self.dataset(dataset), place, self.path)

    def _follow(self) -> None:
        """Go over to the file that came of the folder. Raises InputError where none did."""
        gone = InputError(f"{self.path} is gone: its rollout was given up, or begun anew")
        try:
            whole = Rollout(self.path.with_suffix(""))
        except InputError:
            raise gone from None
        names = {*self.attributes, *whole.attributes} - {"complete"}
        if any(str(self.attributes.get(n)) != str(whole.attributes.get(n)) for n in names):
            whole.close()
            raise gone
        self.path, self._file, self._datasets = whole.path, whole._file, whole._datasets

    def dataset(self, name: str) -> Any:
        """The h5py.Dataset of that name. Raises InputError where the file has none."""
        if name not in self._datasets:
            raise InputError(f"{self.path} has no dataset {name}")
        return self._datasets[name]

    def _read_names(self, group: str, size: int) -> list[str]:
        names = read_names(self._file, group, size, self.path) if size else []
        if names is None and group == "observation":
            return observation_names(self.env_id or "", size)
        return [f"u{i}" for i in range(size)] if names is None else names

    def _read_bounds(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        found = safe_hdf5.attributes(self._file["observation"], self.path, arrays=True)
        bounds = []
        for name, absent in (("low", -np.inf), ("high", np.inf)):
            try:
                bound = np.asarray(found[name], dtype=np.float64).reshape(size)
            except (KeyError, TypeError, ValueError):
                bound = np.full(size, absent)
            bounds.append(np.where(np.isnan(bound), absent, bound))
        return bounds[0], bounds[1]

    def _oddities(self) -> list[Finding]:
        odd = []
        if self.complete is False:
            why = "the file is incomplete: its writer did not get to the end, or not yet"
            odd.append(Finding("incomplete", why))
        if "action/mean" not in self:
            odd.append(Finding("missing", "the file has no dataset action/mean"))
        for name, size in (("trajectories", self.trajectories), ("steps", self.steps)):
            said = self.attributes.get(name)
            if said is not None and said != size:
                odd.append(
                    Finding("header", f"the file's header says {said!r} {name}, its data {size}")
                )
        return odd
