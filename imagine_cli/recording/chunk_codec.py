"""Chunks of numbers as HDF5's filters store them, made outside HDF5, which does it under a lock."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["LEVEL", "encode", "fletcher32"]

LEVEL = 1
"""Of gzip: beliefs are mostly noise to it, which a higher level finds no more in."""

# So many words have sums that float64, and so a fast product, holds exactly: 2**16 2**17 2**18.
_WORDS = 2**17


def encode(chunk: np.ndarray[Any, Any]) -> bytes:
    """``chunk``, whole, through shuffle, gzip and fletcher32 in this order: what a file holds."""
    size = chunk.dtype.itemsize
    octets = np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, size)
    packed = zlib.compress(np.ascontiguousarray(octets.T).data, LEVEL)
    return packed + fletcher32(packed).to_bytes(4, "little")


def fletcher32(data: bytes) -> int:
    """The checksum of the HDF5 filter: Fletcher's, of big-endian 16-bit words, modulo 65535.

    Of words that aren't all zero, HDF5's sums are 65535 where others' are 0 (Fletcher 1982, on
    one's complement arithmetic).
    """
    words = np.frombuffer(data + b"\0" * (len(data) % 2), dtype=">u2").astype(np.float64)
    first = second = 0
    weights = np.arange(min(len(words), _WORDS), 0, -1, dtype=np.float64)
    for begin in range(0, len(words), _WORDS):
        some = words[begin : begin + _WORDS]
        second += len(some) * first + int(some @ weights[-len(some) :])
        first += int(some.sum())
    return _folded(second) << 16 | _folded(first)


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0
