"""A pickled dict of numbers and numpy arrays, read without unpickling.

A pickle is a program for a stack machine. The few instructions that such a file needs are done
here; the callables that it names are only compared with the names that numpy writes for its
arrays, and nothing is ever imported or called. Whatever else a file asks for is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.errors import InputError

__all__ = ["read_arrays"]

_LARGEST = 2**24

_ARRAY = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_BUFFER = {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
_SCALAR = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")}
_DTYPE = {("numpy", "dtype")}
_ENCODE = {("_codecs", "encode")}
_NAMES = _ARRAY | _BUFFER | _SCALAR | _DTYPE | _ENCODE | {("numpy", "ndarray")}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE",
    "SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8",
}  # fmt: skip
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    module: str
    name: str


class _Type:
    """A numpy dtype in the making: what its constructor was given, then its byte order."""

    def __init__(self, code: Any) -> None:
        self.code, self.order = str(code), "="

    def made(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code)
        if dtype.kind not in "fiub" or dtype.hasobject or self.order not in ("<", ">", "=", "|"):
            raise ValueError(f"numbers of type {self.code!r}")
        made: np.dtype[Any] = dtype.newbyteorder(self.order)  # type: ignore[arg-type]
        return made


class _Array:
    """A numpy array in the making."""

    value: np.ndarray | None = None


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
        return _finished(_Machine().run(content))
    except InputError as error:
        raise InputError(f"{path} is refused: {error}") from error
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        raise InputError(
            f"{path} is no pickled dict of numbers and numpy arrays: {error}"
        ) from error


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._do(opcode.name, argument)
        raise ValueError("it has no end")

    def _do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in _TUPLES:
            stack.append(tuple(self._popped(len(stack) - _TUPLES[name])))
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self._popped(self.marks.pop())))
        elif name in ("SETITEM", "SETITEMS"):
            flat = self._popped(self.marks.pop() if name == "SETITEMS" else len(stack) - 2)
            for key, value in zip(flat[::2], flat[1::2], strict=True):
                if not isinstance(stack[-1], dict) or not isinstance(key, str):
                    raise ValueError("it sets items of something that is no dict of strings")
                stack[-1][key] = value
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_known(*self._popped(len(stack) - 2)))
        elif name == "REDUCE":
            named, arguments = self._popped(len(stack) - 2)
            stack.append(_stands_for(named, arguments))
        elif name == "BUILD":
            (state,) = self._popped(len(stack) - 1)
            _complete(stack[-1], state)
        elif name not in ("PROTO", "FRAME"):
            raise InputError(f"it holds more than numbers and numpy arrays (opcode {name})")

    def _popped(self, first: int) -> list[Any]:
        if first < 0 or first > len(self.stack):
            raise ValueError("it takes more from its stack than is there")
        some = self.stack[first:]
        del self.stack[first:]
        return some


def _known(module: Any, name: Any) -> _Name:
    if (module, name) not in _NAMES:
        raise InputError(f"it holds pickled Python objects ({module}.{name}), which can run code")
    return _Name(module, name)


def _stands_for(named: Any, arguments: Any) -> Any:
    """What the call would give, for the calls that numpy writes."""
    if not isinstance(named, _Name) or not isinstance(arguments, tuple):
        raise InputError("it calls something that is no function of numpy's arrays")
    if named in _DTYPE:
        return _Type(arguments[0])
    if named in _ENCODE:
        text, codec = arguments
        if codec != "latin1":
            raise ValueError(f"bytes written as {codec!r}")
        return str(text).encode("latin1")
    if named in _ARRAY:
        return _Array()
    if named in _BUFFER:
        data, dtype, shape, order = arguments
        return _array(data, dtype, shape, order == "F")
    if named in _SCALAR:
        dtype, data = arguments
        return _array(data, dtype, (), False).item()
    raise InputError(f"it calls {named.module}.{named.name}, which makes no array")


def _complete(target: Any, state: Any) -> None:
    if isinstance(target, _Type):
        target.order = str(state[1])
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, data = state
        target.value = _array(data, dtype, shape, bool(fortran))
    else:
        raise InputError("it sets the state of something that is no array")


def _array(data: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
    if not isinstance(dtype, _Type) or not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array without numbers")
    kind = dtype.made()
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} of {len(data)} bytes")
    array = np.frombuffer(bytes(data), kind).reshape(shape, order="F" if fortran else "C")
    native: np.ndarray = array.astype(kind.newbyteorder("="))
    return native


def _finished(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no dict")
    made = {k: v.value if isinstance(v, _Array) else v for k, v in value.items()}
    for key, item in made.items():
        if not isinstance(item, (int, float, np.ndarray)):
            raise ValueError(f"{key!r} is neither a number nor an array")
    return made
