"""Reading a rollout that is not finished: NaN where no shard is yet."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.fields import FIELDS
from imagine_cli.recording.manifest import MANIFEST, Manifest
from imagine_cli.recording.shard import Shard, open_shard


class PartialRollout:
    """The folder of shards, as they are there at each moment.

    Raises InputError where the folder is none of a rollout.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = Manifest.read(path)
        except FileNotFoundError:
            raise InputError(f"{path} is a folder, not a rollout file") from None
        self.datasets = {name: PartialDataset(self, name) for name in self.manifest.fields}
        self._known: set[Shard] = set()

    def complete(self) -> bool:
        """Whether every part is there now, of a rollout that is written in parts."""
        there = {*os.listdir(self.path)}
        whole = all(shard.filename in there for shard in self.manifest.grid)
        return whole and self.manifest.parts is not None

    def read(self, shard: Shard, name: str, place: tuple[slice, ...]) -> np.ndarray | None:
        """A part of a shard's numbers of a dataset; None where it is not there, or damaged.

        Raises FileNotFoundError where the folder has come to its end.
        """
        with contextlib.suppress(FileNotFoundError, InputError):
            known = shard in self._known
            with open_shard(self.path, shard, self.manifest.identity, trusted=known) as file:
                self._known.add(shard)
                return file.read(name, place)
        if not (self.path / MANIFEST).exists():
            raise FileNotFoundError(self.path / MANIFEST)
        return None


class PartialDataset:
    """What a rollout's reader needs of an h5py.Dataset."""

    def __init__(self, rollout: PartialRollout, name: str) -> None:
        self._rollout, self._field = rollout, FIELDS[name]
        self.name = f"/{name}"
        self.shape = self._field.shape(rollout.manifest.sizes)
        self.size = int(np.prod(self.shape, dtype=object))
        self.chunks = rollout.manifest.grid.chunks[name]
        self.dtype: np.dtype[Any] = np.dtype(rollout.manifest.dtype)

    def __getitem__(self, index: int | slice | Sequence[int | slice]) -> np.ndarray:
        given = tuple(index) if isinstance(index, Sequence) else (index,)
        given += (slice(None),) * (len(self.shape) - len(given))
        place = list[slice]()
        rest = list[int | slice]()
        for part, size in zip(given, self.shape, strict=True):
            if isinstance(part, slice):
                first, last, step = part.indices(size)
                place.append(slice(first, max(first, last)))
                rest.append(slice(None, None, step))
            else:
                k = range(size)[part]
                place.append(slice(k, k + 1))
                rest.append(0)
        found = np.full([part.stop - part.start for part in place], np.nan, dtype=self.dtype)
        if found.size:
            self._fill(found, tuple(place))
        return found[tuple(rest)]

    def _fill(self, found: np.ndarray, place: tuple[slice, ...]) -> None:
        grid, field = self._rollout.manifest.grid, self._field
        for shard in grid.over(field, place):
            there = grid.place(field, shard)
            both = [_common(a, b) for a, b in zip(place, there, strict=True)]
            values = self._rollout.read(shard, field.name, _moved(both, there))
            if values is not None:
                found[_moved(both, place)] = values


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def _moved(parts: Sequence[slice], origin: Sequence[slice]) -> tuple[slice, ...]:
    """``parts``, counted from where ``origin`` begins."""
    starts = (each.start for each in origin)
    return tuple(slice(x.start - k, x.stop - k) for x, k in zip(parts, starts, strict=True))
