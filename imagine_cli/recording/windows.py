"""Blocks of steps put together to the chunks of one dataset, so that each is written once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Piece", "Windows"]


class Piece(NamedTuple):
    """Numbers to write: a ``whole`` chunk, padded at the dataset's edges, or a part of some.

    ``offset`` is where its first number goes.
    """

    offset: tuple[int, ...]
    numbers: np.ndarray[Any, Any]
    whole: bool


class Windows:
    """Of one dataset: what came of the steps that one row of chunks spans, until it is all there.

    Args:
        shape, chunks: of the dataset.
        dtype: of the numbers.
        axis: the one of steps; 1, or 2 where particles come before it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: np.dtype[Any],
        axis: int,
    ) -> None:
        self.shape, self._chunks, self._dtype, self._axis = shape, chunks, dtype, axis
        self._window: np.ndarray[Any, Any] | None = None
        self._first_row = self._begin = self._next = 0

    def add(self, row: int, step: int, block: np.ndarray[Any, Any]) -> Iterator[Piece]:
        """A block whose first trajectory and step are these; copied where it is needed later."""
        goes_on = row == self._first_row and step == self._next
        if self._window is not None and not (goes_on and len(block) == len(self._window)):
            yield from self.rest()
        span, done = block.shape[self._axis], 0
        while done < span:
            if self._window is None:
                self._open(row, step + done, len(block))
            end = self._begin + self._window_length
            count = min(span - done, end - self._next)
            assert self._window is not None
            here = self._next - self._begin
            self._steps(self._window, here, count)[...] = self._steps(block, done, count)
            self._next += count
            done += count
            if self._next == end:
                yield from self._whole()

    def rest(self) -> Iterator[Piece]:
        """What is there of a window that isn't whole."""
        window, self._window = self._window, None
        if window is not None and self._next > self._begin:
            count = self._next - self._begin
            yield Piece(self._offset(0), self._steps(window, 0, count), whole=False)

    def _open(self, row: int, step: int, rows: int) -> None:
        chunk, length = self._chunks[self._axis], self.shape[self._axis]
        # Where a block begins inside a chunk, its window is what the chunk has left.
        self._begin = self._next = step
        self._window_length = min(step - step % chunk + chunk, length) - step
        shape = (rows, *self.shape[1 : self._axis], self._window_length)
        self._window = np.empty((*shape, *self.shape[self._axis + 1 :]), dtype=self._dtype)
        self._first_row = row

    def _whole(self) -> Iterator[Piece]:
        window, self._window = self._window, None
        assert window is not None
        chunks, axis = self._chunks, self._axis
        last_row = self._first_row + len(window)
        aligned = (
            self._begin % chunks[axis] == 0
            and self._first_row % chunks[0] == 0
            and (last_row % chunks[0] == 0 or last_row == self.shape[0])
        )
        if not aligned:
            yield Piece(self._offset(0), window, whole=False)
            return
        for row in range(0, len(window), chunks[0]):
            some = window[row : row + chunks[0]]
            for particle in range(0, self.shape[1], chunks[1]) if axis == 2 else (None,):
                part = some if particle is None else some[:, particle : particle + chunks[1]]
                if part.shape != chunks:
                    full = np.full(chunks, np.nan, dtype=self._dtype)
                    full[tuple(slice(size) for size in part.shape)] = part
                    part = full
                yield Piece(self._offset(row, particle or 0), part, whole=True)

    def _offset(self, row: int, particle: int = 0) -> tuple[int, ...]:
        particles = (particle,) if self._axis == 2 else ()
        rest = (0,) * (len(self.shape) - self._axis - 1)
        return (self._first_row + row, *particles, self._begin, *rest)

    def _steps(self, array: np.ndarray[Any, Any], first: int, count: int) -> np.ndarray[Any, Any]:
        return array[(slice(None),) * self._axis + (slice(first, first + count),)]
