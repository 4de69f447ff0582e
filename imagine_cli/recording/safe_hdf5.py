"""HDF5 files by anyone, read without trusting them: nothing outside the file, nothing huge."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.watched_file import WatchedFile

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CHUNK_BYTES = 256 * 1024 * 1024
_MAX_EXPANSION = 10_000  # gzip's own limit is about 1032; unwritten chunks take no room at all
_MAX_ATTRIBUTE_BYTES = 1024 * 1024
_MAX_ATTRIBUTES_BYTES = 16 * 1024 * 1024
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHECKSUM = 4  # bytes of a fletcher32
_DEEPEST = 8
_MAX_STRINGS = 32  # that are read together; each may be as long as a heap, 4 MiB


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
        zipped = head[:4] == b"PK\3\4"
        what = "a world-model checkpoint or another zip file, not a rollout"
        raise InputError(f"{path} is {what if zipped else 'not an HDF5 file'}")
    _forget_plugins()
    try:
        file = h5py.File(WatchedFile(path), "r")
        sizes = file.id.get_create_plist().get_sizes()
    except (OSError, RuntimeError, ValueError) as error:
        reason = "it is truncated" if "truncated" in str(error) else _one_line(error)
        raise InputError(f"{path} is damaged and can't be opened: {reason}") from error
    if max(sizes) > 8:
        close(file)
        raise InputError(f"{path} is damaged and can't be opened: its addresses have 16 bytes")
    return file


def _forget_plugins() -> None:
    """The library would run what it finds for a filter that a file names and it does not have."""
    for _ in range(h5py.h5pl.size()):
        h5py.h5pl.remove(0)


def close(file: Any) -> None:
    """Close what was read, in whatever state damage has left the library."""
    with contextlib.suppress(OSError, RuntimeError):
        file.close()


def attributes(node: Any, path: Path, *, arrays: bool = False) -> dict[str, Any]:
    """The attributes of a group as str, bool, int, float, and small ``arrays`` where asked for.

    Others are left out.
    """
    found: dict[str, Any] = {}
    try:
        manager = node.attrs
        names = list(manager.keys())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged and can't be opened: {_one_line(error)}") from error
    total = 0
    for name in names:
        try:
            if not (isinstance(name, str) and _is_simple(manager.get_id(name))):
                continue
            value = _plain(manager[name])
        except (OSError, RuntimeError, TypeError, ValueError, KeyError):
            continue  # a type that h5py has no word for
        total += value.nbytes if isinstance(value, np.ndarray) else len(str(value))
        if total > _MAX_ATTRIBUTES_BYTES:
            raise InputError(f"{path} has attributes of more than 16 MiB; a rollout has few")
        if value is not None and (arrays or not isinstance(value, np.ndarray)):
            found[name] = value
    return found


def _is_simple(attribute: Any) -> bool:
    """Numbers, booleans and strings; h5py crashes on damaged types of other classes."""
    kind, types = attribute.get_type(), h5py.h5t
    if kind.get_class() not in (types.INTEGER, types.FLOAT, types.STRING, types.ENUM):
        return False
    if kind.get_class() == types.STRING and kind.is_variable_str():
        return math.prod(attribute.shape or ()) <= _MAX_STRINGS
    return bool(attribute.get_storage_size() <= _MAX_ATTRIBUTE_BYTES)


def read_strings(dataset: Any, path: Path) -> list[str]:
    """All of a dataset of strings with one axis. InputError where they are damaged or too long."""
    found: list[str] = []
    for first in range(0, dataset.shape[0], _MAX_STRINGS):
        # Every one may be in the same place, so that a small file can hold any amount of text.
        some = read(dataset, slice(first, first + _MAX_STRINGS), path).tolist()
        found += [x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in some]
        if sum(map(len, found)) > _MAX_ATTRIBUTES_BYTES:
            raise InputError(f"{dataset.name} in {path} has names of more than 16 MiB")
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
        pipeline = dataset.id.get_create_plist()
        filters = {pipeline.get_filter(k)[0] for k in range(pipeline.get_nfilters())}
        short = bool(chunks) and _has_short_chunk(dataset, filters)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where} can't be understood: {_one_line(error)}") from error
    if shape is None:
        raise InputError(f"{where} is empty")
    if not filters <= _FILTERS:
        raise InputError(
            f"{where} is stored by a filter that is none of gzip, shuffle and fletcher32"
        )
    if short:
        raise InputError(f"{where} can't be read, the file is damaged: a chunk lacks its checksum")
    if chunks and np.prod(chunks, dtype=object) * kind.itemsize > _MAX_CHUNK_BYTES:
        raise InputError(f"{where} is stored in chunks of more than 256 MiB; chunk it smaller")
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    there = dataset.file.id.get_filesize()  # not the path's: that may be renamed by now
    if size > max(_MAX_CHUNK_BYTES, _MAX_EXPANSION * there):
        raise InputError(
            f"{where} claims to have {size:.3g} bytes, which a file of {there} bytes can't hold"
        )
    return dataset


def names(group: Any, path: Path) -> list[str]:
    """Of what is in a group."""
    try:
        return [str(name) for name in group]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged: {_one_line(error)}") from error


def all_datasets(group: Any, path: Path, depth: int = 0) -> Iterator[Any]:
    """Every dataset in a group and its groups, as :func:`child_dataset` gives it."""
    if depth > _DEEPEST:
        raise InputError(f"{path} has groups more than {_DEEPEST} deep in each other")
    for name in names(group, path):
        node = _child(group, name, path, h5py.HLObject)
        if isinstance(node, h5py.Group):
            yield from all_datasets(node, path, depth + 1)
        elif (dataset := child_dataset(group, name, path)) is not None:
            yield dataset


def _has_short_chunk(dataset: Any, filters: set[int]) -> bool:
    """Whether a chunk has less bytes than its checksum: the library (2.0.0) crashes on it."""
    if h5py.h5z.FILTER_FLETCHER32 not in filters:
        return False
    found = dataset.id.chunk_iter(lambda chunk: True if chunk.size < _CHECKSUM else None)
    return found is not None


def read(dataset: Any, place: Any, path: Path) -> np.ndarray:
    """``dataset[place]``; InputError naming the dataset where its bytes are damaged."""
    try:
        return np.asarray(dataset[place])
    except FileNotFoundError:
        raise
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
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
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
