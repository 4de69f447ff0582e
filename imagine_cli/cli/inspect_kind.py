"""Which kind of file it is, by its content."""

from __future__ import annotations

import os
from pathlib import Path

from imagine_cli.errors import InputError

ROLLOUT, CHECKPOINT = "rollout", "checkpoint"

_ZIP = b"PK\x03\x04"


def file_kind(path: Path) -> str:
    """ROLLOUT for HDF5 or an unfinished rollout's folder, CHECKPOINT for a zip, a pickle, a .onnx
    or a folder with a model of mbrl-lib.

    Raises InputError for anything else.
    """
    import h5py

    if path.is_dir():
        for name, kind in (("model.pth", CHECKPOINT), ("manifest.json", ROLLOUT)):
            if (path / name).is_file():
                return kind
        raise InputError(f"{path} is a folder; name a rollout or a checkpoint in it")
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; inspect needs one that it can move in")
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise InputError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    if not head:
        raise InputError(f"{path} is empty")
    if h5py.is_hdf5(os.fsencode(path)):
        return ROLLOUT
    pickled = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"
    if head == _ZIP or pickled or path.suffix == ".onnx":
        return CHECKPOINT
    raise InputError(f"{path} is neither a rollout (HDF5) nor a checkpoint (torch.save)")
