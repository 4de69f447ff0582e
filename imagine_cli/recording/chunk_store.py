"""The file that a rollout goes to while it goes on: HDF5 on one side, another thread between."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.errors import DiskError, ImagineError
from imagine_cli.interrupts import interrupts_held_back
from imagine_cli.recording.chunk_codec import encode
from imagine_cli.recording.groups import NewFile
from imagine_cli.recording.schema import RolloutHeader
from imagine_cli.recording.steady_file import SteadyFile
from imagine_cli.recording.windows import Piece, Windows
from imagine_cli.recording.write_behind import WriteBehind

__all__ = ["ChunkStore"]

# What may wait to be written: more than a few blocks of steps, less than anyone minds.
_WAITING_BYTES = 64 * 1024 * 1024


class ChunkStore:
    """Lays out a file, and puts blocks of numbers in its chunks, which another thread writes.

    Args:
        descriptor: of the new, empty file.
        target: what errors call it.
        header, sizes, dtype, chunk: as :class:`imagine_cli.recording.groups.NewFile` takes them.
        wanted: which of the optional datasets there are.

    Attributes:
        chunks_stored: how many whole chunks are in the file as it was last committed.

    Raises:
        DiskError: from every method, where the disk fails.
    """

    def __init__(
        self,
        descriptor: int,
        target: Path,
        header: RolloutHeader,
        sizes: dict[str, int],
        dtype: np.dtype[Any],
        chunk: tuple[int, int],
        wanted: dict[str, bool],
    ) -> None:
        self.chunks_stored = self._chunks_written = 0
        self._target = target
        self._disk = SteadyFile(descriptor)
        self._file: Any = None
        # Kept open: closing a dataset empties its chunk cache.
        self._datasets: dict[str, Any] = {}
        try:
            with self._disk_errors():
                # HDF5 1.10's file format has checksums in its own structures too.
                self._file = h5py.File(self._disk, "w", libver=("v110", "v110"))
                self._file.attrs["complete"] = False
                for name, value in header.attributes().items():
                    self._file.attrs[name] = _storable(value)
                new = NewFile(self._file, header, sizes, dtype, chunk)
                new.lay_out(wanted)
                self._datasets = new.datasets
                low, high = header.bounds()
                self._file["observation"].attrs["low"] = low
                self._file["observation"].attrs["high"] = high
            self._commit()
        except BaseException:
            self._close_sealed()
            raise
        self._windows = {
            name: Windows(dataset.shape, dataset.chunks, dtype, 1 + name.startswith("particles"))
            for name, dataset in self._datasets.items()
        }
        self._behind = WriteBehind(_WAITING_BYTES)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a dataset."""
        return self._windows[name].shape

    def add(self, name: str, row: int, step: int, block: np.ndarray[Any, Any]) -> None:
        """A block of a dataset, whose first trajectory and step are these. It is copied."""
        self._hand_over(name, self._windows[name].add(row, step, block))

    def commit(self) -> None:
        """What was added so far, as far as it fills chunks, becomes part of the file."""
        self._behind.put(0, self._commit)

    def then(self, call: Callable[[], None]) -> None:
        """Have something done after all of that is written."""
        self._behind.put(0, call)

    def finish(self, flush: Callable[[], None]) -> None:
        """Write everything, then ``flush``, which may take long, then say that it is complete."""
        for name, windows in self._windows.items():
            self._hand_over(name, windows.rest())
        self.commit()
        self._behind.end()
        flush()
        with self._disk_errors():
            self._file.attrs["complete"] = True
            self._close()
            self._disk.commit()

    def abandon(self, *, keep: bool) -> None:
        """Close the file as it was after the last commit; ``keep`` writes what waits first."""
        if keep:
            with contextlib.suppress(ImagineError):
                self._behind.end()
        else:
            self._behind.drop()
        self._close_sealed()

    def _hand_over(self, name: str, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._behind.put(piece.numbers.nbytes, partial(self._store, name, piece))

    def _store(self, name: str, piece: Piece) -> None:
        """In the writing thread, as :meth:`_commit`."""
        dataset = self._datasets[name]
        if piece.whole:
            packed = encode(piece.numbers)
            with self._disk_errors():
                dataset.id.write_direct_chunk(piece.offset, packed)
            self._chunks_written += 1
            return
        place = zip(piece.offset, piece.numbers.shape, strict=True)
        with self._disk_errors():
            dataset[tuple(slice(first, first + size) for first, size in place)] = piece.numbers

    def _commit(self) -> None:
        with self._disk_errors():
            self._file.flush()
            self._disk.commit()
        self.chunks_stored = self._chunks_written

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Around every use of HDF5: what the disk said becomes one DiskError."""
        failure: BaseException | None = None
        with interrupts_held_back():
            try:
                yield
            except (OSError, RuntimeError) as error:
                failure = error
        failure = self._disk.error or failure
        if failure is not None:
            number = getattr(failure, "errno", None)
            reason = os.strerror(number) if number else " ".join(str(failure).split())
            raise DiskError(f"{self._target} could not be written: {reason}") from failure

    def _close(self) -> None:
        self._datasets.clear()
        self._file.close()

    def _close_sealed(self) -> None:
        self._disk.seal()
        if self._file is not None:
            with interrupts_held_back(), contextlib.suppress(Exception):
                self._close()


def _storable(value: str | int | float | bool) -> Any:
    """As HDF5 has it: an integer beyond 64 bits goes in as its decimal digits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value
