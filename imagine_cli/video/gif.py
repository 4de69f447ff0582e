"""An animated GIF, frame by frame: Pillow makes each frame, so that one is in memory at a time."""

from __future__ import annotations

import io
import struct
from types import TracebackType
from typing import BinaryIO

import numpy as np

__all__ = ["GifWriter"]


class GifWriter:
    """A GIF (89a) that repeats for ever; every frame has 256 colours of its own.

    ``fps`` is rounded to the hundredths of a second that the format counts in.
    """

    def __init__(self, stream: BinaryIO, fps: float) -> None:
        self._stream, self._delay = stream, max(2, round(100 / fps))
        self._begun = False

    def __enter__(self) -> GifWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._stream.write(b"\x3b")

    def write(self, frame: np.ndarray) -> None:
        """One frame, ``(H, W, 3)`` uint8."""
        from PIL import Image

        held = io.BytesIO()
        Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE).save(held, "GIF")
        data = held.getvalue()
        size = data[10] & 7
        palette = data[13 : 13 + 3 * 2 ** (size + 1)]
        image = _image_block(data, 13 + len(palette))
        if not self._begun:
            self._begun = True
            height, width = frame.shape[:2]
            self._stream.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
            self._stream.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        self._stream.write(b"\x21\xf9\x04\x04" + struct.pack("<HBB", self._delay, 0, 0))
        # The picture's descriptor, whose last byte says now that a table of its own follows.
        self._stream.write(image[:9] + bytes([image[9] | 0x80 | size]) + palette + image[10:])


def _image_block(data: bytes, at: int) -> bytes:
    """From the image descriptor to the end of its data; what stands before is skipped."""
    while data[at] == 0x21:
        at = _after_blocks(data, at + 2)
    return data[at : _after_blocks(data, at + 11)]


def _after_blocks(data: bytes, at: int) -> int:
    """Where a chain of data blocks that begins at ``at`` ends."""
    while data[at]:
        at += data[at] + 1
    return at + 1
