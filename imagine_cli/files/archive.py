"""The archive that ``torch.save`` makes of plain data, read by an unpickler that knows no more.

``torch.load(weights_only=True)`` calls whatever torch and its companions have declared safe, and
the pickle says with what. Here it can name what puts numbers that are in the file into a tensor, a
dict or a tuple; this, in torch 2.13, is a MemoryError, or whatever is asked for::

    python -c 'import io, torch; torch.load(io.BytesIO(b"\\x80\\2cbuiltins\\nbytearray\\n\\x8a\\6" +
        (10**14).to_bytes(6, "little") + b"\\x85R."), weights_only=True)'
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.files.unpickler import Named, Refused, unpickled

_DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
_DTYPES = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()}


def read_archive(file: Path | io.BytesIO) -> Any:
    """The plain data that ``torch.save`` wrote: dicts, lists, tuples, numbers, str, tensors.

    Raises:
        Refused: it names a function or a type that is not plain data.
        Exception: nearly any kind, for a file that is damaged or something else.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        if len(set(names)) < len(names):
            raise zipfile.BadZipFile("two members of one name")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names:
            order = _member(archive, f"{folder}byteorder").decode()
            if order != sys.byteorder:
                raise Refused(f"numbers in the byte order {order[:20]!r}")
        storages: dict[str, Tensor] = {}

        def storage(_: Any, kind: Named, key: str, __: Any, count: int) -> Tensor:
            """A storage as a tensor with one axis."""
            dtype = _DTYPES[kind.name]
            if key not in storages:
                storages[key] = _storage(_member(archive, f"{folder}data/{key}"), dtype)
            if storages[key].dtype != dtype or len(storages[key]) != count:
                raise ValueError(f"storage {key} is not what the pickle says")
            return storages[key]

        content = _member(archive, pickled)
        size = file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())
        return unpickled(content, size, _named, _ignore_notes, storage)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile("torch.save compresses nothing")
    data = archive.read(info)
    if len(data) != info.file_size:
        raise zipfile.BadZipFile("a member that is cut short")
    return data


def _storage(content: bytes, dtype: torch.dtype) -> Tensor:
    if not content:
        return torch.empty(0, dtype=dtype)
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    # A byte that is neither 0 nor 1 is no bool.
    return values.ne(0) if dtype == torch.bool else values.view(dtype)


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> Tensor:
    """``torch._utils._rebuild_tensor_v2``, of no more than there is in the storage."""
    count, last = 1, offset
    for size, step in zip(shape, stride, strict=True):
        if not (type(size) is type(step) is int and size >= 0 and step >= 0):
            raise ValueError("a tensor of an impossible shape")
        count, last = count * size, last + (size - 1) * step
    if not (type(offset) is int and offset >= 0 and count <= len(storage)):
        raise Refused("a tensor that claims more numbers than it has")
    if count and last >= len(storage):
        raise ValueError("a tensor that ends outside its storage")
    made: Tensor = storage.as_strided(shape, stride, offset) if count else storage.new_empty(shape)
    return made


_FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    **dict.fromkeys(_DTYPES),
    "collections.OrderedDict": lambda: OrderedDict(),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.Size": tuple,
}


def _named(name: str) -> Callable[..., Any] | None:
    if name not in _FUNCTIONS and name.startswith("torch._utils._rebuild"):
        raise Refused(f"a tensor that is not a plain one ({name[:100]})")
    return _FUNCTIONS[name]


def _ignore_notes(target: Any, state: Any) -> None:
    """The state that a state dict's OrderedDict carries: torch's notes, not needed here."""
    if type(target) is not OrderedDict:
        raise ValueError("a state for something that has none")
