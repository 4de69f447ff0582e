"""Reading a rollout file, by us or by anyone who follows the schema, a piece at a time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.inspection.checks import Finding
from imagine_cli.observation_names import observation_names
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.layout import check_format, read_layout, read_names
from imagine_cli.recording.probe import check_survives
from imagine_cli.recording.provenance import Provenance

if TYPE_CHECKING:
    from imagine_cli.inspection.statistics import Statistics

__all__ = ["Rollout", "open_rollout"]

# To read a chunk while the file is written: each fails only where a write comes in between.
_ATTEMPTS = 5
_SLAB_BYTES = 16 * 1024 * 1024

Index = int | slice
_ALL = slice(None)


def open_rollout(path: str | os.PathLike[str]) -> Rollout:
    """Open a rollout file for reading, as a context manager.

    Nothing but the header is read yet. Links out of the file are never followed.

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
        rollout.numbers(name, 0, 0)


class Rollout(Provenance):
    """An open rollout file.

    Attributes:
        path: the file.
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
        self._file = safe_hdf5.open_file(path)
        try:
            self.attributes = safe_hdf5.attributes(self._file, path)
            self.format_version = check_format(self.attributes, path)
            layout = read_layout(self._file, path)
            self._datasets = layout.datasets
            sizes = layout.sizes
            self.trajectories, self.steps = sizes["B"], sizes["T"]
            self.observation_size = sizes["D"]
            self.action_size = sizes.get("F")
            self.particle_count = sizes.get("P")
            self.dtype: np.dtype[Any] = self._datasets["observation/mean"].dtype
            self.observation_names = self._read_names("observation", self.observation_size)
            self.action_names = self._read_names("action", self.action_size or 0)
            self.observation_low, self.observation_high = self._read_bounds()
        except BaseException:
            safe_hdf5.close(self._file)
            raise
        self.warnings = self._oddities()

    def __enter__(self) -> Rollout:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        safe_hdf5.close(self._file)

    @property
    def datasets(self) -> dict[str, tuple[int, ...]]:
        """The datasets of the schema that the file has, with their shapes."""
        return {name: tuple(dataset.shape) for name, dataset in self._datasets.items()}

    def __contains__(self, dataset: str) -> bool:
        return dataset in self._datasets

    def mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of the observations: ``(B, T+1, D)``, an axis less for each index that is a number."""
        return self._take("observation/mean", trajectory, step)

    def var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of the observations: ``(B, T+1, D, D)``."""
        return self._take("observation/var", trajectory, step)

    def action_mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T, F)``."""
        return self._take("action/mean", trajectory, step)

    def action_var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T, F, F)``."""
        return self._take("action/var", trajectory, step)

    def reward_mean(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T)``."""
        return self._take("reward/mean", trajectory, step)

    def reward_var(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, T)``."""
        return self._take("reward/var", trajectory, step)

    def particles(self, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """``(B, P, T+1, D)``."""
        return self._take("particles/observation", trajectory, step)

    def numbers(self, dataset: str, trajectory: Index = _ALL, step: Index = _ALL) -> np.ndarray:
        """Of any dataset of the schema, by its name, as the methods above give it."""
        return self._take(dataset, trajectory, step)

    def stats(
        self,
        trajectory: int | None = None,
        *,
        bins: int = 40,
        progress: Callable[[float], None] | None = None,
    ) -> Statistics:
        """Means, standard deviations and warnings, in one pass with little memory.

        Args:
            trajectory: one trajectory, or None for all of them together.
            bins: into how many stretches of steps the course is condensed.
            progress: called with the fraction that is done, from 0 to 1.
        """
        from imagine_cli.inspection.statistics import compute

        return compute(self, trajectory, bins=bins, progress=progress)

    def slabs(
        self, dataset: str = "observation/var", trajectory: int | None = None
    ) -> Iterator[tuple[slice, slice]]:
        """Trajectories and steps in pieces of at most a few MiB of ``dataset``.

        The pieces follow the dataset's chunks, trajectories before steps.
        """
        found = self.dataset(dataset)
        axis = 2 if dataset.startswith("particles") else 1
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

    def _take(self, name: str, trajectory: Index, step: Index) -> np.ndarray:
        place = (trajectory, _ALL, step) if name.startswith("particles") else (trajectory, step)
        for _ in range(_ATTEMPTS if self.complete is False else 0):
            # Its writer may have gone on since it was opened.
            with contextlib.suppress(InputError):
                return safe_hdf5.read(self.dataset(name), place, self.path)
            self._look_again()
        return safe_hdf5.read(self.dataset(name), place, self.path)

    def _look_again(self) -> None:
        time.sleep(0.01)
        self._file.close()
        if self.path.suffix == ".partial" and not self.path.exists():
            self.path = self.path.with_suffix("")  # it is complete now
        self._file = safe_hdf5.open_file(self.path)
        self._datasets = read_layout(self._file, self.path).datasets

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

    def _read_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        found = safe_hdf5.attributes(self._file["observation"], self.path)
        bounds = []
        for name, absent in (("low", -np.inf), ("high", np.inf)):
            try:
                bound = np.asarray(found[name], dtype=np.float64).reshape(self.observation_size)
            except (KeyError, TypeError, ValueError):
                bound = np.full(self.observation_size, absent)
            bounds.append(np.where(np.isnan(bound), absent, bound))
        return bounds[0], bounds[1]

    def _oddities(self) -> list[Finding]:
        odd = []
        if self.complete is False:
            odd.append(
                Finding(
                    "incomplete",
                    "the file is incomplete: its writer did not get to the end, or not yet",
                )
            )
        if "action/mean" not in self:
            odd.append(Finding("missing", "the file has no dataset action/mean"))
        for name, size in (("trajectories", self.trajectories), ("steps", self.steps)):
            said = self.attributes.get(name)
            if said is not None and said != size:
                odd.append(
                    Finding("header", f"the file's header says {said!r} {name}, its data {size}")
                )
        return odd
