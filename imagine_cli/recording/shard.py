"""A shard: some trajectories x some steps of a rollout, with the state at its end, in one file.

The grid of shards follows from a rollout's sizes alone. A shard spans whole chunks of every
dataset, so that its chunks, as they are compressed, are those of the finished file.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.fields import FIELDS, Field
from imagine_cli.recording.probe import check_survives
from imagine_cli.recording.schema import chunk_lengths

FILTERS: dict[str, Any] = {
    "compression": "gzip",
    "compression_opts": 1,  # beliefs are mostly noise to gzip: a higher level finds no more in them
    "shuffle": True,
    "fletcher32": True,
}
LIBVER = ("v110", "v110")
"""The file format that has checksums in its own structures too."""

DIGEST_SIZE = hashlib.sha256().digest_size
"""Of the SHA-256 that a shard's file ends with."""

_BATCH = 64  # fewer trajectories leave a machine idle between operations
_LEAST_STEPS = 8
_LEAST_CHUNK_BYTES = 64 * 1024
# Of the numbers of a shard: less is lost to overhead, more to a kill, and the most fits in memory.
_LEAST_BYTES, _USUAL_BYTES, _MOST_BYTES = 4 * 2**20, 8 * 2**20, 32 * 2**20


class Shard(NamedTuple):
    """Trajectories and steps, from the first one to before the last one.

    It has the actions and rewards of its steps and the beliefs that they were taken at; where it
    gets to T, the belief at T too.
    """

    first_trajectory: int
    last_trajectory: int
    first_step: int
    last_step: int

    @property
    def trajectories(self) -> slice:
        return slice(self.first_trajectory, self.last_trajectory)

    @property
    def filename(self) -> str:
        return f"shard-{self.first_trajectory:09d}-{self.first_step:09d}.h5"


class Grid(Sequence[Shard]):
    """The shards of a rollout, trajectories outer, steps inner.

    Args:
        sizes: of ``trajectory``, ``step`` (T), ``observation``, ``action`` and ``particle``.
        fields: the names of its datasets.
        itemsize: bytes of a number.
        together: the most trajectories that a shard spans, None for as many as suit.

    Attributes:
        chunks: the chunk shape of each dataset, by name.
        trajectories, steps: how many of them a shard spans.
    """

    def __init__(
        self, sizes: Mapping[str, int], fields: Sequence[str], itemsize: int, together: int | None
    ) -> None:
        self._sizes, self.chunks = dict(sizes), dict[str, tuple[int, ...]]()
        most_b, most_t = sizes["trajectory"], sizes["step"]
        one = {**sizes, "trajectory": 1, "step": 1}
        # Bytes of one step of one trajectory (and particle).
        each = {
            name: prod(FIELDS[name].shape(one)) // (1 + FIELDS[name].after) * itemsize
            for name in fields
        }
        row = sum(each.values())
        b, t = chunk_lengths(most_b, most_t, each["observation/var"])
        t = max(1, min(t, _MOST_BYTES // row))
        b = max(1, min(b, together or b, _MOST_BYTES // (row * t)))
        clouds = {name: each[name] // sizes["particle"] for name in fields if _cloud(name)}
        span = most_t + 1 if t == most_t else t
        cloud_t = min(
            (chunk_lengths(sizes["particle"], span, size)[1] for size in clouds.values()), default=t
        )
        if t < most_t:
            t -= t % cloud_t
        count = min(most_b, together or most_b, -(-_BATCH // b) * b)
        count = min(count, _MOST_BYTES // (row * max(t, min(most_t, _LEAST_STEPS))))
        self.trajectories = max(b, count if count == most_b else count // b * b)
        block = row * t * self.trajectories
        # Small numbers have chunks of several times as many steps.
        repeats = {
            name: min(_power(_USUAL_BYTES // block), _power(_LEAST_CHUNK_BYTES // (b * t * size)))
            for name, size in each.items()
            if not _cloud(name)
        }
        self.steps = min(most_t, t * max(_power(_LEAST_BYTES // block), *repeats.values()))
        for name in fields:
            shape = FIELDS[name].shape(sizes)
            if _cloud(name):
                p, length = chunk_lengths(sizes["particle"], cloud_t, clouds[name])
                self.chunks[name] = (1, p, min(length, shape[2]), *shape[3:])
            else:
                length = shape[1] if t == most_t else min(shape[1], t * repeats[name])
                self.chunks[name] = (b, length, *shape[2:])

    def __len__(self) -> int:
        return -(-self._sizes["trajectory"] // self.trajectories) * self._columns

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index % len(self), self._columns)
        b, t = row * self.trajectories, column * self.steps
        last_b, last_t = self._sizes["trajectory"], self._sizes["step"]
        return Shard(b, min(b + self.trajectories, last_b), t, min(t + self.steps, last_t))

    @property
    def _columns(self) -> int:
        return -(-self._sizes["step"] // self.steps)

    def place(self, field: Field, shard: Shard) -> tuple[slice, ...]:
        """Where a shard's numbers of a dataset are in the whole one."""
        place = [slice(0, size) for size in field.shape(self._sizes)]
        at_end = shard.last_step == self._sizes["step"]
        place[0] = shard.trajectories
        last = shard.last_step + (field.after if at_end else 0)
        place[field.step_axis] = slice(shard.first_step, last)
        return tuple(place)

    def shape(self, field: Field, shard: Shard) -> tuple[int, ...]:
        """Of a shard's numbers of a dataset."""
        return tuple(part.stop - part.start for part in self.place(field, shard))

    def over(self, field: Field, place: Sequence[slice]) -> Iterator[Shard]:
        """The shards that have numbers of a dataset there."""
        rows, steps = place[0], place[field.step_axis]
        last = (self._sizes["step"] - 1) // self.steps
        for row in range(rows.start // self.trajectories, -(-rows.stop // self.trajectories)):
            first_column = min(steps.start // self.steps, last)
            for column in range(first_column, min(-(-steps.stop // self.steps), last + 1)):
                yield self[row * self._columns + column]


def rows(shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Those of the same trajectories, step after step: each goes on from the one before it."""
    for _, row in groupby(shards, attrgetter("first_trajectory")):
        yield list(row)


def encode(
    grid: Grid,
    shard: Shard,
    numbers: Mapping[str, np.ndarray],
    state: Mapping[str, np.ndarray],
    rollout: str,
) -> bytes:
    """A shard's file: HDF5, and the SHA-256 of that at its end.

    ``rollout`` is the identity of the rollout that it is of.
    """
    # Not driver="core": the images of HDF5 1.14.2 have a wrong checksum in their superblock.
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER) as file:
        file.attrs["rollout"], file.attrs["shard"] = rollout, shard
        for name, values in numbers.items():
            chunks = grid.chunks[name]
            most = tuple(map(max, values.shape, chunks))
            about = {"chunks": chunks, "maxshape": most, "fillvalue": np.nan, **FILTERS}
            file.create_dataset(name, data=values, **about)
        for name, values in state.items():
            packing = FILTERS if values.nbytes > _LEAST_CHUNK_BYTES else {}
            file.create_dataset(f"state/{name}", data=values, **packing)
    image = memory.getvalue()
    return image + hashlib.sha256(image).digest()


@contextmanager
def open_shard(
    folder: Path, shard: Shard, rollout: str, *, trusted: bool = False
) -> Iterator[ShardFile]:
    """A shard's file, which is looked at before HDF5 sees it if it isn't ``trusted``.

    Raises:
        FileNotFoundError: there is none.
        InputError: it is damaged, or of another rollout or place.
    """
    path = folder / shard.filename
    if trusted:
        file = h5py.File(path, "r", locking=False)
    else:
        _check_digest(path)
        check_survives(lambda: _read_all(path), path)
        file = safe_hdf5.open_file(path)
    try:
        datasets: dict[str, Any] | None = None
        if not trusted:
            datasets = {each.name[1:]: each for each in safe_hdf5.all_datasets(file, path)}
        facts = safe_hdf5.attributes(file, path, arrays=True)
        if facts.get("rollout") != rollout or tuple(facts.get("shard", ())) != shard:
            raise InputError(f"{path} is of another rollout")
        yield ShardFile(path, file, datasets)
    finally:
        safe_hdf5.close(file)


@dataclass(frozen=True)
class ShardFile:
    """An open shard; ``datasets`` by their names, where it isn't trusted. Raises InputError."""

    path: Path
    file: Any
    datasets: Mapping[str, Any] | None

    def dataset(self, name: str) -> Any:
        try:
            return (self.file if self.datasets is None else self.datasets)[name]
        except KeyError:
            raise InputError(f"{self.path} is damaged: it has no {name}") from None

    def read(self, name: str, place: Any = ()) -> np.ndarray:
        return safe_hdf5.read(self.dataset(name), place, self.path)

    def state(self) -> dict[str, np.ndarray]:
        """What it has of the state at its end."""
        known = self.datasets
        if known is None:
            known = {each.name[1:]: each for each in safe_hdf5.all_datasets(self.file, self.path)}
        names = [name for name in known if name.startswith("state/")]
        return {name.removeprefix("state/"): self.read(name) for name in names}


def _read_all(path: Path) -> None:
    with safe_hdf5.open_file(path) as file:
        for dataset in safe_hdf5.all_datasets(file, path):
            safe_hdf5.read(dataset, (), path)


def _check_digest(path: Path) -> None:
    try:
        data = memoryview(path.read_bytes())
    except PermissionError as error:
        raise InputError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    size = len(data) - DIGEST_SIZE
    if size <= 0 or hashlib.sha256(data[:size]).digest() != data[size:]:
        raise InputError(f"{path} is damaged")


def read_digest(path: Path) -> bytes:
    """The SHA-256 at the end of a shard's file, as it stands there. Raises OSError."""
    with path.open("rb") as file:
        file.seek(-DIGEST_SIZE, os.SEEK_END)
        return file.read()


def _cloud(name: str) -> bool:
    return "particle" in FIELDS[name].axes


def _power(number: int) -> int:
    """The largest power of two that is not above it; 1 below that."""
    return 1 << (max(1, number).bit_length() - 1)
