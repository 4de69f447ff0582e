"""Writing a rollout, shard by shard; what is whole stays, whatever becomes of the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_cli.errors import DiskError, InputError, Interrupted
from imagine_cli.interrupts import interrupts_held_back
from imagine_cli.recording.fields import DEFAULT_FIELDS, FIELDS
from imagine_cli.recording.manifest import Manifest
from imagine_cli.recording.merge import merge
from imagine_cli.recording.partial_folder import PartialFolder
from imagine_cli.recording.schema import RolloutHeader
from imagine_cli.recording.shard import Shard, rows
from imagine_cli.recording.shard_store import ShardStore

# Means are not known to compress to less than this part.
_SMALLEST = 20


class RolloutWriter(ShardStore):
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
        parts: how many :class:`PartWriter` write it.

    Attributes:
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
        parts: int | None = None,
    ) -> None:
        manifest = Manifest.of(
            header,
            dtype=dtype, fields=fields, particles=particles, together=together, parts=parts,
        )  # fmt: skip
        self._partial = PartialFolder(path, overwrite=overwrite)
        super().__init__(self._partial.path, manifest)
        self.resumed = self.replaces = False
        self._resume, self._keep = resume, keep
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> RolloutWriter:
        self._check_disk()
        try:
            with interrupts_held_back():
                self._begin()
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="recording")
        except BaseException as error:
            if self._pool is not None:  # an interrupt came meanwhile
                self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._end_worker()
            if error is None:
                self._finish()
        except BaseException as failure:
            self._abandon(error or failure)
            if error is None:
                raise
        else:
            if error is not None:
                self._abandon(error)

    def write(
        self,
        shard: Shard,
        numbers: Mapping[str, npt.ArrayLike],
        state: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        """As :meth:`ShardStore.write`, beside the caller.

        Raises:
            DiskError: this shard, or one before it, could not be written.
            ValueError: fields are missing or unknown, or have other shapes.
        """
        if self._pool is None:
            raise ValueError("the writer is not open; use it in a with statement")
        copies = self._copied(shard, numbers, state)
        with interrupts_held_back():
            while len(self._waiting) > 1 or (self._waiting and self._waiting[0].done()):
                self._waiting.pop(0).result()
            self._waiting.append(self._pool.submit(self._store, shard, *copies))

    def _begin(self) -> None:
        """Have a folder, new or a dead writer's."""
        folder = self._partial
        old = folder.path.is_file()
        if old and self._resume:
            raise InputError(
                f"{folder.path} is a file, as version 0.1 left it, and can't be gone on "
                "from; leave out --resume to start anew"
            )
        folder.claim()
        there = folder.has_shards()
        goes_on = there and self._resume
        self.replaces = (old or there) and not self._resume
        try:
            if goes_on:
                self._take_over()
            else:
                folder.begin(self.manifest)
        except BaseException:
            (folder.release if goes_on else folder.discard)()
            raise

    def _finish(self) -> None:
        merge(self.folder, trusted=self.digests)
        self._partial.publish()

    def _take_over(self) -> None:
        try:
            theirs = Manifest.read(self.folder)
        except (FileNotFoundError, InputError) as error:
            raise InputError(
                f"{self.folder} can't be gone on from: {error}; leave out --resume to start anew"
            ) from error
        self._be_same(
            theirs, "give the arguments it was begun with, or leave out --resume to start anew"
        )
        self.resumed = True

    def _be_same(self, theirs: Manifest, advice: str) -> None:
        """Write what ``theirs`` says. InputError where that is another rollout."""
        difference = self.manifest.difference(theirs)
        if difference:
            raise InputError(f"{self.folder} is of another rollout: {difference}; {advice}")
        self.manifest = theirs

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
            if self._partial.has_shards() and (self.resumed or (may_go_on and self._keep)):
                self._partial.release()
            else:
                self._partial.discard()

    def _check_disk(self) -> None:
        """InputError where not even the means can be held, however they are compressed."""
        sizes = self.manifest.sizes
        itemsize = np.dtype(self.manifest.dtype).itemsize
        needed = sizes["trajectory"] * (sizes["step"] + 1) * sizes["observation"] * itemsize
        try:
            free = shutil.disk_usage(self._partial.target.parent).free
        except OSError:
            return
        if needed > _SMALLEST * free:
            raise InputError(
                f"{sizes['trajectory']} trajectories of {sizes['step']} steps have means of "
                f"{needed / 1e9:,.0f} GB alone, and {self._partial.target.parent} has room for "
                f"{free / 1e9:,.0f} GB; take fewer"
            )


class PartWriter(RolloutWriter):
    """Writes every n-th row of a rollout's shards, beside others that write the other rows.

    No file comes of it: the folder stays, for :func:`~imagine_cli.recording.merge.merge_parts`
    and for readers. What is there already is taken over.

    Args:
        part: ``(k, n)``, k from 1 to n.
        options: those of :class:`RolloutWriter`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: RolloutHeader,
        part: tuple[int, int],
        **options: Any,
    ) -> None:
        super().__init__(path, header, parts=part[1], **options)
        self._partial.shared, self._part = True, part

    def _begin(self) -> None:
        (k, n), most = self._part, sum(1 for _ in rows(self.manifest.grid))
        if not 1 <= k <= n <= most:
            raise InputError(
                f"--shard {k}/{n}: this rollout can be divided into at most {most} parts, "
                f"1/{most} to {most}/{most}"
            )
        self._partial.claim()
        try:
            self.resumed = self._partial.has_shards()
            theirs = self._partial.join(self.manifest)
            self._be_same(theirs, "give the arguments it was begun with, or remove it")
        except BaseException:
            self._partial.release()
            raise
        mine = islice(rows(self.manifest.grid), k - 1, None, n)
        self._some = [shard for row in mine for shard in row]

    def _finish(self) -> None:
        self._partial.release()

    def _abandon(self, error: BaseException) -> None:
        self._partial.release()


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
        for shard in (grid := writer.manifest.grid):
            places = {name: grid.place(FIELDS[name], shard) for name in arrays}
            writer.write(shard, {name: array[places[name]] for name, array in arrays.items()})
