"""Pickles of plain data, read by a stack machine that knows little else. No torch.

What a pickle calls is looked up in the table of a file format
(:mod:`~imagine_cli.files.archive`, :mod:`~imagine_cli.checkpoint.pickled_arrays`), so that nothing
is imported, and the file's size bounds what all of it may cost.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": None}
_KEYS = (str, int, float, bool, type(None))

_MOST_INSTRUCTIONS = 2**21
_DEEPEST = 64
_LEAST_VALUES = 100_000
_LONGEST_TUPLE = 64


class Refused(Exception):
    """What the file holds that is not plain data, in words that follow "holds"."""


@dataclass(frozen=True)
class Named:
    """What a pickle names: a function, or None for what may be mentioned and not called."""

    name: str
    function: Callable[..., Any] | None


def unpickled(
    content: bytes,
    size: int,
    named: Callable[[str], Callable[..., Any] | None],
    build: Callable[[Any, Any], None],
    persistent: Callable[..., Any] | None = None,
) -> Any:
    """The value that a pickle of protocol 2 to 5 makes.

    Functions get numbers, strings, bytes, flat tuples, dicts and what they made themselves: nothing
    whose comparison, hash or text could take for ever.

    Args:
        content: the pickle.
        size: of its file, in bytes.
        named: the function of a name such as ``"numpy.dtype"``; KeyError for all but a few.
        build: sets an object's state, which is a dict or a flat tuple.
        persistent: what the parts of a persistent id stand for.

    Raises:
        Refused: it names something else, or has no sensible end.
        Exception: nearly any kind, for bytes that are damaged or something else.
    """
    value = _Machine(size, named, build, persistent).run(content)
    _count(value, max(_LEAST_VALUES, 10 * size), {})
    return value


class _Machine:
    def __init__(self, size: int, named: Any, build: Any, persistent: Any) -> None:
        self.named, self.build, self.persistent = named, build, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.bytes_left = 10 * size

    def run(self, content: bytes) -> Any:
        for k, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
            if k == _MOST_INSTRUCTIONS:
                raise Refused(f"a pickle of more than {k} instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._do(opcode.name, argument)

    def _do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in _TUPLES:
            stack.append(tuple(self._popped(_TUPLES[name])))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("APPEND", "APPENDS"):
            values = self._popped(1 if name == "APPEND" else None)
            if type(stack[-1]) is not list:
                raise ValueError("it appends to something that is no list")
            stack[-1].extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            flat = self._popped(2 if name == "SETITEM" else None)
            if not isinstance(stack[-1], dict) or any(type(key) not in _KEYS for key in flat[::2]):
                raise ValueError("it sets items of something that is no dict of names or numbers")
            stack[-1].update(zip(flat[::2], flat[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self._named(*(argument.split(" ") if argument else self._popped(2))))
        elif name == "REDUCE":
            named, arguments = self._popped(2)
            if type(named) is not Named or named.function is None:
                raise Refused("a call of something that is no function of plain data")
            stack.append(named.function(*self._flat(arguments)))
        elif name == "BUILD":
            (state,) = self._popped(1)
            self.build(stack[-1], state if type(state) is dict else self._flat(state))
        elif name == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(*self._flat(*self._popped(1))))
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"more than plain data (opcode {name})")

    def _popped(self, count: int | None) -> list[Any]:
        """The last ``count`` values, or all above the last mark."""
        first = self.marks.pop() if count is None else len(self.stack) - count
        if not 0 <= first <= len(self.stack):
            raise ValueError("it takes more from its stack than is there")
        some = self.stack[first:]
        del self.stack[first:]
        return some

    def _named(self, module: str, name: str) -> Named:
        full = ".".join((module, name))
        try:
            return Named(full, self.named(full))
        except KeyError:
            raise Refused(
                f"pickled Python objects ({full[:100]}), and loading those can run any code"
            ) from None

    def _flat(self, values: Any) -> tuple[Any, ...]:
        """``values``, a short tuple without lists in it, nor tuples in its tuples."""
        for part in (values, *(each for each in values if type(each) is tuple)):
            if type(part) is not tuple or len(part) > _LONGEST_TUPLE:
                raise ValueError("arguments that are no short tuple")
            if any(
                isinstance(each, list if part is values else (list, tuple, dict)) for each in part
            ):
                raise ValueError("an argument of several levels")
        self.bytes_left -= sum(
            len(each) for each in values if type(each) in (str, bytes, bytearray)
        )
        if self.bytes_left < 0:
            raise Refused("the same bytes again and again")
        checked: tuple[Any, ...] = values
        return checked


def _count(value: Any, most: int, known: dict[int, int], depth: int = 0) -> int:
    """Of how many values it consists; eight bytes are one.

    A list can be in many places, and in itself, so that a few bytes unfold without bound.
    """
    if not isinstance(value, (dict, list, tuple)):
        length = len(value) if isinstance(value, (str, bytes, bytearray)) else 0
        return 1 + int(getattr(value, "nbytes", length)) // 8
    if id(value) not in known:
        if depth > _DEEPEST:
            raise Refused(f"lists or dicts more than {_DEEPEST} deep in each other")
        total = 1
        for child in (*value, *value.values()) if isinstance(value, dict) else value:
            total += _count(child, most, known, depth + 1)
            if total > most:
                raise Refused(f"more than {most} values, most of them the same ones again")
        known[id(value)] = total
    return known[id(value)]
