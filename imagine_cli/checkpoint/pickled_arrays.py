"""A pickled dict of numbers and numpy arrays, read without unpickling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.unpickler import Refused, unpickled

_LARGEST = 2**24


def read_arrays(path: Path) -> dict[str, Any]:
    """The numbers and numpy arrays of numbers in a pickled dict, by name.

    Raises:
        InputError: no file, one of more than 16 MiB, or one that holds or does anything else.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than any {path.name} should be: refused")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    try:
        return _finished(unpickled(content, len(content), _FUNCTIONS.__getitem__, _complete))
    except Refused as error:
        raise InputError(f"{path} is refused: it holds {error}") from error
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        raise InputError(
            f"{path} is no pickled dict of numbers and numpy arrays: {error}"
        ) from error


@dataclass
class _Type:
    """A numpy dtype in the making: its code, then its byte order."""

    code: Any
    order: Any = "="

    def made(self) -> np.dtype[Any]:
        if type(self.code) is str and self.order in ("<", ">", "=", "|"):
            made: np.dtype[Any] = np.dtype(self.code).newbyteorder(self.order)
            if made.kind in "fiub":
                return made
        raise ValueError("numbers of a type that is not read")


class _Array:
    """A numpy array in the making."""

    value: np.ndarray | None = None


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if type(dtype) is not _Type or not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array without numbers")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array of an impossible shape")
    kind = dtype.made()
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array whose {len(data)} bytes are not as many as it needs")
    array = np.frombuffer(bytes(data), kind).reshape(shape, order="F" if order == "F" else "C")
    native: np.ndarray = array.astype(kind.newbyteorder("="))
    return native


_FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    "numpy.dtype": lambda code, *_: _Type(code),
    "numpy.ndarray": None,
    "_codecs.encode": lambda text, codec: text.encode(codec) if codec == "latin1" else None,
}
for _core in ("numpy.core", "numpy._core"):  # before numpy 2, and since
    _FUNCTIONS |= {
        f"{_core}.multiarray._reconstruct": lambda *_: _Array(),
        f"{_core}.multiarray.scalar": lambda dtype, data: _array(data, dtype, (), "C").item(),
        f"{_core}.numeric._frombuffer": _array,
    }


def _complete(target: Any, state: Any) -> None:
    """What numpy does where a state is set."""
    if type(target) is _Type:
        target.order = state[1]
    elif type(target) is _Array:
        _, shape, dtype, fortran, data = state
        target.value = _array(data, dtype, shape, "F" if fortran else "C")
    else:
        raise Refused("the state of something that is no array")


def _finished(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no dict")
    made = {k: v.value if isinstance(v, _Array) else v for k, v in value.items()}
    for key, item in made.items():
        if type(key) is not str or not isinstance(item, (int, float, np.ndarray)):
            raise ValueError(f"{key!r} is neither a number nor an array")
    return made
