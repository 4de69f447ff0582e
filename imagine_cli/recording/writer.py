"""Writing a rollout, shard by shard; what is whole stays, whatever becomes of the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_cli.errors import DiskError, InputError, Interrupted
from imagine_cli.interrupts import interrupts_held_back
from imagine_cli.recording.fields import DEFAULT_FIELDS, FIELDS
from imagine_cli.recording.manifest import Manifest
from imagine_cli.recording.merge import merge
from imagine_cli.recording.partial_folder import PartialFolder, disk_errors, put_whole
from imagine_cli.recording.schema import RolloutHeader
from imagine_cli.recording.shard import Grid, Shard, encode, open_shard, read_state

# Means are not known to compress to less than this part.
_SMALLEST = 20


class RolloutWriter:
    """A context manager that writes one rollout file, in shards, in any order.

    The file appears at ``path`` when the block ends without an exception, with every shard
    written; otherwise nothing appears and what was at ``path`` stays. Until then
    ``<path>.partial`` is a folder of the shards that are whole, which ``open_rollout`` reads at
    any moment. It stays after a kill, an interrupt or a DiskError. The file's bytes follow from
    the header and the numbers, whoever wrote which shard when.

    Args:
        path: the file to write; its folder must exist.
        header: what the file says of itself; B, T and the names of the axes.
        dtype: of the numbers in the file, ``"float64"`` or ``"float32"``.
        fields: the datasets that the file has, by their names in FIELDS.
        particles: P, or None for a file without particles.
        overwrite: whether a file at ``path`` may be replaced.
        resume: go on from the folder that a dead writer left, where there is one with shards in
            it: its shards are there, and its ``created`` and ``command`` are taken over.
        together: the most trajectories that a shard spans.
        keep: whether the folder stays where the rollout can be gone on with.

    Attributes:
        shards: in order, trajectories outer, steps inner.
        resumed: whether a dead writer's folder is gone on from.
        replaces: whether one was there, with shards, that is not gone on from.

    Raises:
        InputError: on entry where ``path`` can't be or mustn't be written, or the folder to go
            on from is of another rollout.
        DiskError: where the disk fails.
        ImagineError: at the end where shards are missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: RolloutHeader,
        *,
        dtype: str = "float64",
        fields: Collection[str] = DEFAULT_FIELDS,
        particles: int | None = None,
        overwrite: bool = False,
        resume: bool = False,
        together: int | None = None,
        keep: bool = True,
    ) -> None:
        self._manifest = Manifest.of(
            header, dtype=dtype, fields={*fields}, particles=particles, together=together
        )
        self.resumed = self.replaces = False
        self._resume, self._keep = resume, keep
        self._folder = PartialFolder(path, overwrite=overwrite)
        self._whole: set[Shard] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    @property
    def shards(self) -> Grid:
        return self._manifest.grid

    def __enter__(self) -> RolloutWriter:
        self._check_disk()
        old = self._folder.path.is_file()
        if old and self._resume:
            raise InputError(
                f"{self._folder.path} is a file, as version 0.1 left it, and can't be gone on "
                "from; leave out --resume to start anew"
            )
        self._folder.claim()
        there = self._folder.has_shards()
        goes_on = there and self._resume
        self.replaces = (old or there) and not self._resume
        try:
            if goes_on:
                self._take_over()
            else:
                self._folder.begin(self._manifest)
        except BaseException:
            (self._folder.release if goes_on else self._folder.discard)()
            raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recording")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._end_worker()
            if error is None:
                merge(self._folder.path, trusted=self._whole)
                self._folder.publish()
        except BaseException as failure:
            self._abandon(error or failure)
            if error is None:
                raise
        else:
            if error is not None:
                self._abandon(error)

    def has(self, shard: Shard) -> bool:
        """Whether it is on the disk already, whole."""
        if shard not in self._whole and self.resumed:
            with (
                suppress(FileNotFoundError, InputError),
                open_shard(self._folder.path, shard, self._manifest.identity),
            ):
                self._whole.add(shard)
        return shard in self._whole

    def state(self, shard: Shard) -> dict[str, np.ndarray]:
        """What was given with a shard that is there: the state at its end."""
        with self._opened(shard) as file:
            return read_state(file)

    def read(self, shard: Shard, field: str) -> np.ndarray:
        """The numbers of a dataset in a shard that is there."""
        with self._opened(shard) as file:
            return np.asarray(file[field][()])

    def write(
        self,
        shard: Shard,
        numbers: Mapping[str, npt.ArrayLike],
        state: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        """Write a shard, beside the caller; the arrays are copied.

        Args:
            shard: one of :attr:`shards`.
            numbers: of every field: the actions and rewards of the shard's steps, the beliefs
                that they were taken at, and in the last shard of a trajectory the belief at T.
            state: named arrays of any plain dtype that the rollout goes on from after it.

        Raises:
            DiskError: this shard, or one before it, could not be written.
            ValueError: fields are missing or unknown, or have other shapes.
        """
        if self._pool is None:
            raise ValueError("the writer is not open; use it in a with statement")
        arrays = self._checked(shard, numbers)
        states = {name: np.array(values) for name, values in (state or {}).items()}
        for name, values in states.items():
            if values.dtype.kind not in "fiub":
                raise ValueError(f"the state {name} is of type {values.dtype}, not plain numbers")
        with interrupts_held_back():
            while len(self._waiting) > 1 or (self._waiting and self._waiting[0].done()):
                self._waiting.pop(0).result()
            self._waiting.append(self._pool.submit(self._store, shard, arrays, states))

    def _checked(self, shard: Shard, numbers: Mapping[str, npt.ArrayLike]) -> dict[str, np.ndarray]:
        grid, arrays = self._manifest.grid, dict[str, np.ndarray]()
        for name in {**dict.fromkeys(self._manifest.fields), **dict.fromkeys(numbers)}:
            if name not in self._manifest.fields:
                raise ValueError(f"{name} was not announced when the file was opened")
            if name not in numbers:
                raise ValueError(f"{name} is missing from a shard")
            arrays[name] = np.array(numbers[name], dtype=self._manifest.dtype)
            shape = grid.shape(FIELDS[name], shard)
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape}")
        return arrays

    def _store(
        self, shard: Shard, numbers: dict[str, np.ndarray], state: dict[str, np.ndarray]
    ) -> None:
        """In the worker's thread. HDF5 sees memory alone here, so that no disk can fail it."""
        data = encode(self._manifest.grid, shard, numbers, state, self._manifest.identity)
        with disk_errors(self._folder.target):
            put_whole(self._folder.path / shard.filename, data)
        self._whole.add(shard)

    def _opened(self, shard: Shard) -> AbstractContextManager[Any]:
        known = shard in self._whole
        return open_shard(self._folder.path, shard, self._manifest.identity, trusted=known)

    def _take_over(self) -> None:
        try:
            theirs = Manifest.read(self._folder.path)
        except (FileNotFoundError, InputError) as error:
            raise InputError(
                f"{self._folder.path} can't be gone on from: {error}; leave out --resume to start "
                "anew"
            ) from error
        self._manifest = self._manifest.taking_over(theirs, self._folder.path)
        self.resumed = True

    def _end_worker(self) -> None:
        """Wait for what waits. Raises the first DiskError."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with interrupts_held_back():
                pool.shutdown()
        for future in self._waiting:
            future.result()

    def _abandon(self, error: BaseException) -> None:
        """The folder stays where what ended the rollout was not its own doing."""
        may_go_on = not isinstance(error, Exception) or isinstance(error, DiskError | Interrupted)
        with interrupts_held_back():
            if self._folder.has_shards() and (self.resumed or (may_go_on and self._keep)):
                self._folder.release()
            else:
                self._folder.discard()

    def _check_disk(self) -> None:
        """InputError where not even the means can be held, however they are compressed."""
        sizes = self._manifest.sizes
        itemsize = np.dtype(self._manifest.dtype).itemsize
        needed = sizes["trajectory"] * (sizes["step"] + 1) * sizes["observation"] * itemsize
        try:
            free = shutil.disk_usage(self._folder.target.parent).free
        except OSError:
            return
        if needed > _SMALLEST * free:
            raise InputError(
                f"{sizes['trajectory']} trajectories of {sizes['step']} steps have means of "
                f"{needed / 1e9:,.0f} GB alone, and {self._folder.target.parent} has room for "
                f"{free / 1e9:,.0f} GB; take fewer"
            )


def write_rollout(
    path: str | os.PathLike[str],
    header: RolloutHeader,
    numbers: Mapping[str, npt.ArrayLike],
    *,
    dtype: str = "float64",
    overwrite: bool = False,
) -> None:
    """Write whole arrays, by the names of their fields. Raises as RolloutWriter does."""
    arrays = {name: np.asarray(values) for name, values in numbers.items()}
    cloud = arrays.get("particles/observation")
    count = None if cloud is None else cloud.shape[1]
    with RolloutWriter(
        path, header, dtype=dtype, fields=arrays, particles=count,
        overwrite=overwrite, keep=False,
    ) as writer:  # fmt: skip
        for shard in (grid := writer.shards):
            places = {name: grid.place(FIELDS[name], shard) for name in arrays}
            writer.write(shard, {name: array[places[name]] for name, array in arrays.items()})
