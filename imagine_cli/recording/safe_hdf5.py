"""HDF5 files by anyone, read without trusting them: nothing outside the file, nothing huge."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.errors import InputError

__all__ = ["attributes", "child_dataset", "child_group", "open_file", "read"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ATTEMPTS = 20
_MAX_CHUNK_BYTES = 256 * 1024 * 1024
_MAX_EXPANSION = 10_000  # gzip's own limit is about 1032; unwritten chunks take no room at all
_MAX_ATTRIBUTE_BYTES = 1024 * 1024


def open_file(path: Path) -> Any:
    """``h5py.File`` for reading; InputError with one sentence for whatever it isn't."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a rollout file")
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; a rollout can't be read from a pipe")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise InputError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    if not head:
        raise InputError(f"{path} is empty")
    if head != _SIGNATURE and not h5py.is_hdf5(path):
        what = "a world-model checkpoint or another zip file" if head[:4] == b"PK\3\4" else None
        raise InputError(
            f"{path} is {what}, not a rollout" if what else f"{path} is not an HDF5 file"
        )
    try:
        return _open_steady(path)
    except (OSError, RuntimeError) as error:
        reason = "it is truncated" if "truncated" in str(error) else _one_line(error)
        raise InputError(f"{path} is damaged and can't be opened: {reason}") from error


def _open_steady(path: Path) -> Any:
    """Without a lock: a rollout that goes on has its own, and can be read at any moment.

    But HDF5 looks at the file's length before its header, and it may grow in between.
    """
    for _ in range(_ATTEMPTS):
        size = path.stat().st_size
        with contextlib.suppress(OSError):
            return h5py.File(path, "r", locking=False)
        if path.stat().st_size == size:
            break
    return h5py.File(path, "r", locking=False)


def attributes(node: Any, path: Path) -> dict[str, Any]:
    """The attributes of a group as str, bool, int, float or small arrays; others are left out."""
    found: dict[str, Any] = {}
    try:
        manager = node.attrs
        names = list(manager.keys())
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} is damaged and can't be opened: {_one_line(error)}") from error
    for name in names:
        try:
            if manager.get_id(name).get_storage_size() > _MAX_ATTRIBUTE_BYTES:
                continue
            value = _plain(manager[name])
        except (OSError, RuntimeError, TypeError, ValueError, KeyError):
            continue  # a type that h5py has no word for
        if value is not None:
            found[name] = value
    return found


def child_group(parent: Any, name: str, path: Path) -> Any | None:
    """The group ``name`` that is really in ``parent``, or None."""
    return _child(parent, name, path, h5py.Group)


def child_dataset(parent: Any, name: str, path: Path) -> Any | None:
    """The dataset ``name`` that is really in ``parent``, its numbers in this file, or None."""
    dataset = _child(parent, name, path, h5py.Dataset)
    if dataset is None:
        return None
    where = f"{dataset.name} in {path}"
    try:
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{where} keeps its numbers in other files, which are not followed")
        kind, chunks, shape = dataset.dtype, dataset.chunks, dataset.shape
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where} can't be understood: {_one_line(error)}") from error
    if shape is None:
        raise InputError(f"{where} is empty")
    if chunks and np.prod(chunks, dtype=object) * kind.itemsize > _MAX_CHUNK_BYTES:
        raise InputError(f"{where} is stored in chunks of more than 256 MiB; chunk it smaller")
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    there = dataset.file.id.get_filesize()  # not the path's: that may be renamed by now
    if size > max(_MAX_CHUNK_BYTES, _MAX_EXPANSION * there):
        raise InputError(
            f"{where} claims to have {size:.3g} bytes, which a file of {there} bytes can't hold"
        )
    return dataset


def read(dataset: Any, place: Any, path: Path) -> np.ndarray:
    """``dataset[place]``; InputError naming the dataset where its bytes are damaged."""
    try:
        return np.asarray(dataset[place])
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{dataset.name} in {path} can't be read, the file is damaged: {_one_line(error)}"
        ) from error


def _child(parent: Any, name: str, path: Path, kind: type) -> Any | None:
    where = f"{parent.name.rstrip('/')}/{name} in {path}"
    try:
        link = parent.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{where} is a link to somewhere else, which is not followed")
        node = parent[name]
    except (OSError, RuntimeError, TypeError, KeyError) as error:
        raise InputError(f"{where} can't be opened: {_one_line(error)}") from error
    if not isinstance(node, kind):
        raise InputError(f"{where} is not a {kind.__name__.lower()}")
    return node


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str | bool | int | float | np.ndarray) else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).strip("'\".")
