"""Which kind of file it is, by its content."""

from __future__ import annotations

import os
from pathlib import Path

from imagine_cli.errors import InputError

__all__ = ["CHECKPOINT", "ROLLOUT", "file_kind"]

ROLLOUT, CHECKPOINT = "rollout", "checkpoint"

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


def file_kind(path: Path) -> str:
    """ROLLOUT for HDF5 or an unfinished rollout's folder, CHECKPOINT for a zip, a pickle or a
    folder with a model of mbrl-lib.

    Raises InputError for anything else.
    """
    if path.is_dir() and (path / "model.pth").is_file():
        return CHECKPOINT
    if path.is_dir() and (path / "manifest.json").is_file():
        return ROLLOUT
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a rollout or a checkpoint in it")
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; inspect needs one that it can move in")
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
            place, size = 512, path.stat().st_size
            # HDF5 lets a block of anything come first, of 512, 1024, ... bytes.
            while head != _HDF5 and place < min(size, 2**24):
                stream.seek(place)
                if stream.read(8) == _HDF5:
                    return ROLLOUT
                place *= 2
    except OSError as error:
        raise InputError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    if not head:
        raise InputError(f"{path} is empty")
    if head == _HDF5:
        return ROLLOUT
    pickled = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"
    if head[:4] == _ZIP or pickled:
        return CHECKPOINT
    raise InputError(f"{path} is neither a rollout (HDF5) nor a checkpoint (torch.save)")
