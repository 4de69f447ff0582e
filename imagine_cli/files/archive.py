"""The archive that ``torch.save`` makes of plain data, read by an unpickler that knows no more.

Even ``torch.load(weights_only=True)`` calls whatever torch and its companions have declared safe:
``bytearray(10**15)``, or a mesh of devices. Here a pickle can name eight functions and types, none
of which does more than put numbers that are in the file into a tensor, a dict or a tuple.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Refused", "read_archive"]

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# What may be where, in torch.save's pickles of protocol 2. In all others a length may be claimed
# that is allocated before anything of it is read.
_OPCODES = (
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS "
    "BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID"
)

# How deep lists and dicts may lie in each other.
_DEEPEST = 64

# Into how many values the shared parts of a small file may unfold.
_LEAST_VALUES = 100_000


class Refused(Exception):
    """What the file holds that is not plain data, in words that follow "holds"."""


class _StorageType:
    """Stands for torch's class of a storage; not callable, as that would allocate one."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Unpickler(pickle._Unpickler):
    """Python's own, in Python, with most of it left out."""

    dispatch: ClassVar[dict[int, Any]] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
        for name in _OPCODES.split()
    }

    def __init__(self, stream: Any, storage: Callable[[str], bytes]) -> None:
        super().__init__(stream)
        self._storage = storage
        self._tensors: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Called for each GLOBAL."""
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch.Size": tuple,
        }
        found = f"{module}.{name}"
        if found in known:
            return known[found]
        if found.startswith("torch._utils._rebuild"):
            raise Refused(f"a tensor that is not a plain one ({found[:100]})")
        raise Refused(f"pickled Python objects ({found[:100]}), and loading those can run any code")

    def persistent_load(self, pid: Any) -> Any:
        """A storage as a tensor with one axis."""
        _, kind, key, _, count = pid
        if key not in self._tensors:
            data = bytearray(self._storage(key))
            # A byte that is neither 0 nor 1 is no bool.
            values = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0)
            values = values.ne(0) if kind.dtype == torch.bool else values.to(torch.uint8)
            self._tensors[key] = values.view(kind.dtype) if data else values.to(kind.dtype)
        values = self._tensors[key]
        if values.dtype != kind.dtype or len(values) != count:
            raise pickle.UnpicklingError(f"storage {key} is not what the pickle says")
        return values

    def _tensor(self, storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> Any:
        """``torch._utils._rebuild_tensor_v2``, of no more than there is in the storage."""
        count, last = 1, offset
        for size, step in zip(shape, stride, strict=True):
            if not (type(size) is type(step) is int and size >= 0 and step >= 0):
                raise pickle.UnpicklingError("a tensor of an impossible shape")
            count, last = count * size, last + (size - 1) * step
        if not (type(offset) is int and offset >= 0 and count <= len(storage)):
            raise Refused("a tensor that claims more numbers than it has")
        if count and last >= len(storage):
            raise pickle.UnpicklingError("a tensor that ends outside its storage")
        if not count:
            return storage.new_empty(shape)
        return storage.as_strided(shape, stride, offset)

    def load_build(self) -> None:
        """The state that a state dict's OrderedDict carries: torch's notes, not wanted here."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        stack.pop()
        if type(stack[-1]) is not OrderedDict:
            raise pickle.UnpicklingError("a state for something that has none")

    dispatch[pickle.BUILD[0]] = load_build


def read_archive(path: Path) -> Any:
    """The plain data in a file by ``torch.save``: dicts, lists, tuples, numbers, str, tensors.

    Raises:
        Refused: it names a function or a type that is not plain data.
        Exception: nearly any kind, for a file that is damaged or something else.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        if len(set(names)) < len(names):
            raise zipfile.BadZipFile("two members of one name")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names:
            order = _member(archive, f"{folder}byteorder").decode()
            if order != sys.byteorder:
                raise Refused(f"numbers in the byte order {order[:20]!r}")
        stream = io.BytesIO(_member(archive, pickled))
        data = _Unpickler(stream, lambda key: _member(archive, f"{folder}data/{key}")).load()
    _values(data, max(_LEAST_VALUES, 10 * path.stat().st_size))
    return data


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile("torch.save compresses nothing")
    data = archive.read(info)
    if len(data) != info.file_size:
        raise zipfile.BadZipFile("a member that is cut short")
    return data


def _values(data: Any, most: int) -> int:
    """Of how many values ``data`` consists. Raises Refused where it nests without a sensible end.

    A pickle can have one list in many places, and in itself, so that a few bytes unfold without
    bound.
    """
    known: dict[int, int] = {}

    def count(value: Any, depth: int) -> int:
        if not isinstance(value, (dict, list, tuple)):
            return value.numel() if isinstance(value, Tensor) else 1
        if id(value) in known:
            return known[id(value)]
        if depth > _DEEPEST:
            raise Refused(f"lists or dicts more than {_DEEPEST} deep in each other")
        children = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        total = 1 + sum(count(child, depth + 1) for child in children)
        if total > most:
            raise Refused(f"more than {most} values, most of them the same ones again")
        known[id(value)] = total
        return total

    return count(data, 0)
