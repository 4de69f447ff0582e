"""A folder that torchrl made: ``buffer.dumps(folder)`` or ``tensordict.memmap(folder)``.

``meta.json`` has the type and shape of each tensor, whose numbers are a file of their own; one of
a nested TensorDict is in the folder of that name. A replay buffer has all this below ``storage``,
with how many rows are there, and beside it where the next would go. Its ``prefetch.pkl`` and any
other pickle is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.files.inside import check_inside
from imagine_cli.files.json_file import read_json
from imagine_cli.memory import check_memory
from imagine_cli.transitions.rows import Rows

_META = "meta.json"
_TYPES = {
    f"torch.{name}": np.dtype(name)
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
} | {"torch.bool": np.dtype("bool")}
_DEEPEST = _MOST_AXES = 8


def recognises(path: Path) -> bool:
    """Whether it is a folder with the metadata of tensors."""
    return _folder(path) is not None


def _folder(path: Path) -> Path | None:
    return next((f for f in (path / "storage", path) if (f / _META).is_file()), None)


def read(path: Path) -> Rows:
    """Its tensors, nested ones under names such as ``next/reward``. Raises InputError."""
    folder = _folder(path)
    assert folder is not None, "recognises was asked first"
    tensors = dict(_tensors(folder, path))
    batch = _sizes(_json(folder / _META, path).get("shape"), folder)
    filled = _json(folder / "storage_metadata.json", path).get("len")
    cursor = _json(path / "writer" / "metadata.json", path).get("cursor", 0)
    if type(cursor) is not int or not (filled is None or (type(filled) is int and filled >= 0)):
        raise InputError(f"{path} says no numbers where it is filled to")

    def arrays(names: Sequence[str]) -> dict[str, np.ndarray]:
        found = {name: _array(name, tensors[name], path) for name in names}
        for name, array in found.items():
            if not batch or array.shape[: len(batch)] != batch:
                shape = f"{array.shape}, which is not of the batch size {batch}"
                raise InputError(f"{path}: {name} has the shape {shape}")
            if filled is not None:
                array = _in_order(array, len(batch), filled // math.prod(batch[1:]), cursor)
            found[name] = array.reshape(-1, *array.shape[len(batch) :])
        return found

    files = (tensor.file for tensor in tensors.values() if tensor.file.is_file())
    return Rows(path, "torchrl", sha256_of(*files), list(tensors), arrays)


def _in_order(array: np.ndarray, axes: int, filled: int, cursor: int) -> np.ndarray:
    """A replay buffer's rows that are there, the oldest first; time before the last batch axis.

    It is filled along its first axis, and then from ``cursor`` on again.
    """
    there = np.roll(array, -(cursor % filled), 0) if filled == len(array) else array[:filled]
    return np.moveaxis(there, 0, axes - 1)


class _Tensor(NamedTuple):
    file: Path
    said: dict[str, Any]


def _tensors(
    folder: Path, root: Path, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, _Tensor]]:
    if depth > _DEEPEST:
        raise InputError(f"{root} has folders more than {_DEEPEST} deep in each other")
    for key, said in _json(folder / _META, root).items():
        if not isinstance(said, dict):
            continue
        if key in ("", ".", "..") or "/" in key:
            raise InputError(f"{folder / _META} names {key[:40]!r}, which is no file of its folder")
        if said.get("type") == "TensorDict":
            yield from _tensors(folder / key, root, f"{prefix}{key}/", depth + 1)
            continue
        file = folder / f"{key}.memmap"
        check_inside(file, root)
        yield prefix + key, _Tensor(file, said)


def _array(name: str, tensor: _Tensor, path: Path) -> np.ndarray:
    file, said = tensor
    dtype = _TYPES.get(str(said.get("dtype")))
    if "shape" not in said or said.get("is_nested"):
        raise InputError(
            f"{path}: {name} is stored as {said.get('type', 'nested')}, which may need a pickle "
            "and is not read; make a plain tensor of it"
        )
    if dtype is None:
        kind = str(said.get("dtype"))[:40]
        raise InputError(f"{path}: {name} is of {kind}, which is not read; convert it")
    shape = _sizes(said["shape"], file)
    count = math.prod(shape)
    check_memory(count, f"the numbers of {file}")
    if not file.is_file() or file.stat().st_size < count * dtype.itemsize:
        raise InputError(f"{file} is missing or has fewer numbers than its shape, {shape}")
    return np.fromfile(file, dtype, count).reshape(shape)


def _sizes(said: Any, where: Path) -> tuple[int, ...]:
    known = isinstance(said, list) and len(said) <= _MOST_AXES
    if not known or not all(type(n) is int and n > 0 for n in said):
        raise InputError(f"{where} has a shape of no numbers, {str(said)[:40]}")
    return tuple(said)


def _json(file: Path, root: Path) -> dict[str, Any]:
    """Empty where there is none."""
    check_inside(file, root)
    return read_json(file) if file.is_file() else {}
