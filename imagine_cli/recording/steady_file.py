"""Disk errors and Ctrl-C kept away from the HDF5 library, which crashes on either.

When a write fails inside HDF5 (a full disk), it loses data without a word where the write came
from its caches, and ends the process with a segmentation fault when it can't flush a file that
it has to close. So HDF5 writes through an object of ours, whose writes always succeed; whether
they did is for the caller to ask afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["SteadyFile", "interrupts_held_back"]


class SteadyFile:
    """An open file as h5py's ``fileobj`` driver wants it, which keeps its first error to itself.

    After an error nothing goes to disk any more. What HDF5 then still writes, to close the file,
    is kept in memory so that it can read it back; that is no more than its caches held.

    Attributes:
        error: the first error, None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._position = 0
        self._size = os.fstat(descriptor).st_size
        self._kept: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(
            whence, self._size
        )
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.readinto(memoryview(data))
        return bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        start, wanted = self._position, len(buffer)
        buffer[:] = bytes(wanted)
        done = 0
        try:
            while done < wanted:
                os.lseek(self._descriptor, start + done, os.SEEK_SET)
                piece = os.read(self._descriptor, wanted - done)
                if not piece:
                    break
                buffer[done : done + len(piece)] = piece
                done += len(piece)
        except OSError as error:
            self.error = self.error or error
        for offset, data in self._kept:
            first, last = max(start, offset), min(start + wanted, offset + len(data))
            if first < last:
                buffer[first - start : last - start] = data[first - offset : last - offset]
        self._position += wanted
        return wanted

    def write(self, data: memoryview) -> int:
        start, size, done = self._position, len(data), 0
        if self.error is None:
            try:
                os.lseek(self._descriptor, start, os.SEEK_SET)
                while done < size:
                    done += os.write(self._descriptor, data[done:])
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._kept.append((start, bytes(data)))
        self._position += size
        self._size = max(self._size, self._position)
        return size

    def truncate(self, size: int) -> int:
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self.error = error
        self._size = size
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block instead of inside it.

    Python code called by HDF5, as :class:`SteadyFile` is, would raise it into the library.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held:
            handler(*held[0])
