"""What the HDF5 library reads of a file by a stranger, looked at before it sees it.

The library (2.0.0) believes what a global heap, where strings of variable length lie, says of the
sizes of its objects: a size of zero there is an endless loop, a huge one a segmentation fault.
Heaps have no checksum, in no version of the format. So it reads through an object of ours, which
lets no heap through that the library could not walk to its end.
"""

from __future__ import annotations

import io
import os

_SIGNATURE = b"GCOL"
_HEAD = 16
_LARGEST = 2**22


class WatchedFile:
    """An open file as h5py's ``fileobj`` driver wants it, for reading alone.

    A damaged heap's signature is blanked, so that the library says that it is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = io.FileIO(path)
        self._size = os.fstat(self._file.fileno()).st_size
        self._position = 0
        self._sound: dict[int, bool] = {}

    def close(self) -> None:
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._size)
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """All of ``buffer``; zeros where the file has ended, as the library's own driver does."""
        view, start = memoryview(buffer).cast("B"), self._position
        data = self._at(start, len(view))
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))
        self._look(view, start)
        self._position = start + len(view)
        return len(view)

    def read(self, size: int = -1) -> bytes:
        data = bytearray(size if size >= 0 else max(0, self._size - self._position))
        self.readinto(memoryview(data))
        return bytes(data)

    def write(self, data: memoryview) -> int:
        raise PermissionError("the file is open for reading")

    def truncate(self, size: int) -> int:
        raise PermissionError("the file is open for reading")

    def flush(self) -> None:
        """Nothing is ever written."""

    def _look(self, view: memoryview, start: int) -> None:
        """Blank what is in ``view`` of the signatures of damaged heaps."""
        # A signature may be cut by either end of the piece: the library keeps pieces side by side.
        edge = len(_SIGNATURE) - 1
        before = self._at(max(0, start - edge), min(edge, start))
        after = self._at(start + len(view), edge)
        whole = b"".join((before, view, after))
        at = whole.find(_SIGNATURE)
        while at >= 0:
            place = start - len(before) + at
            if place not in self._sound:
                self._sound[place] = self._walks(place)
            if not self._sound[place]:
                first = max(0, place - start)
                last = min(len(view), place - start + len(_SIGNATURE))
                view[first:last] = bytes(last - first)
            at = whole.find(_SIGNATURE, at + 1)

    def _walks(self, place: int) -> bool:
        """Whether the library gets from object to object to the heap's end, and no further.

        HDF5 File Format Specification 3.0, III.E. A size has up to 8 bytes, and is followed by
        unused ones up to the eighth where it has fewer; where these are not zero the heap is
        refused too.
        """
        head = self._at(place, _HEAD)
        size = int.from_bytes(head[8:16], "little")
        if len(head) < _HEAD or head[4] != 1:
            return True  # the library refuses these itself
        if not _HEAD <= size <= _LARGEST:
            return False
        heap = self._at(place, size)
        if len(heap) < size:
            return False
        at = _HEAD
        while at + _HEAD <= size:
            number = int.from_bytes(heap[at : at + 2], "little")
            length = int.from_bytes(heap[at + 8 : at + 16], "little")
            # Object 0 is the free space, and its size includes its own head.
            step = length if number == 0 else _HEAD + -(-length // 8) * 8
            if step < _HEAD or step > size - at:
                return False
            at += step
        return True

    def _at(self, place: int, size: int) -> bytes:
        """``size`` bytes, fewer at the end of the file."""
        pieces = []
        while size > 0 and 0 <= place < self._size:
            self._file.seek(place)
            piece = self._file.read(min(size, self._size - place))
            if not piece:
                break
            pieces.append(piece)
            place, size = place + len(piece), size - len(piece)
        return b"".join(pieces)
