"""Disk errors and kills kept away from the HDF5 library, which survives neither.

When a write fails inside HDF5 (a full disk), it loses data without a word where the write came
from its caches, and ends the process with a segmentation fault when it can't flush a file that
it has to close. And it updates its structures in place, so that a process killed between two of
its writes leaves a file that can't be opened. So HDF5 writes through an object of ours, whose
writes always succeed, and which changes what a reader can see at chosen moments alone.
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["SteadyFile"]


class SteadyFile:
    """An open file as h5py's ``fileobj`` driver wants it, which keeps its first error to itself.

    What goes beyond the size that the file had at the last :meth:`commit` goes to disk at once:
    nothing there refers to it yet. What changes the part before that is kept in memory until the
    next commit, so that the file on disk is always the one of a commit. After an error, or
    :meth:`seal`, nothing goes to disk any more.

    Attributes:
        error: the first error, None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._position = 0
        self._size = os.fstat(descriptor).st_size
        self._committed = 0
        self._sealed = False
        # By offset and length, in the order of writing.
        self._kept: dict[tuple[int, int], bytes] = {}

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
        for (offset, length), data in self._kept.items():
            first, last = max(start, offset), min(start + wanted, offset + length)
            if first < last:
                buffer[first - start : last - start] = data[first - offset : last - offset]
        self._position += wanted
        return wanted

    def write(self, data: memoryview) -> int:
        start, size = self._position, len(data)
        before = min(size, max(0, self._committed - start))
        if before:
            self._keep(start, data[:before])
        new = data[before:]
        if new and (self._stopped or not self._put(start + before, new)):
            self._keep(start + before, new)
        self._position += size
        self._size = max(self._size, self._position)
        return size

    def truncate(self, size: int) -> int:
        self._size = size
        if size >= self._committed:
            self._cut(size)
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def commit(self) -> None:
        """Make what was written what a reader sees; HDF5 must have been flushed before.

        What each write changes is one structure of HDF5's with a checksum. The superblock goes
        first, so that at each moment every structure refers to what is there.
        """
        if self._stopped:
            return
        for (offset, _), data in sorted(self._kept.items(), key=lambda kept: kept[0][0] > 0):
            if not self._put(offset, memoryview(data)):
                return
        self._kept.clear()
        self._committed = self._size
        self._cut(self._size)

    def seal(self) -> None:
        """From now on nothing goes to disk; what did since the last commit is cut off."""
        self._sealed = True
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._committed)

    @property
    def _stopped(self) -> bool:
        return self._sealed or self.error is not None

    def _keep(self, offset: int, data: memoryview) -> None:
        place = (offset, len(data))
        self._kept.pop(place, None)  # what comes later is to be last
        self._kept[place] = bytes(data)

    def _put(self, offset: int, data: memoryview) -> bool:
        done = 0
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as error:
            self.error = error
        return done == len(data)

    def _cut(self, size: int) -> None:
        if not self._stopped:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self.error = error
