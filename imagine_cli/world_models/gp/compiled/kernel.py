"""How the functions of this room become machine code: by Numba, once, kept in a cache."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from imagine_cli.files.digest import sha256_of
from imagine_cli.interrupts import interrupts_held_back

__all__ = ["kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """``function``, compiled when it is first called.

    Every operation is rounded as it is written: what the compiler makes of a loop, which depends
    on where it is called from and on what lies where in memory, changes no bit.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    dispatcher.compile = _whole(dispatcher.compile)
    given = numba.config.CACHE_DIR
    try:
        folder = _folder(given)
        numba.config.CACHE_DIR = str(folder)
        kept = _Kept(function)
        if folder in Path(kept.cache_path).parents:  # and not where Numba falls back to
            dispatcher._cache = kept
    except (RuntimeError, OSError):  # no place to write to: compiled again in every process
        pass
    finally:
        numba.config.CACHE_DIR = given
    return cast(_Function, dispatcher)


def _whole(compile: _Function) -> _Function:
    """Without Ctrl-C in the midst of it."""

    @wraps(compile)
    def whole(*given: Any) -> Any:
        with interrupts_held_back():
            return compile(*given)

    return cast(_Function, whole)


class _Kept(FunctionCache):  # type: ignore[misc]
    """Machine code in files that may be damaged, or no longer be written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Checked(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, *given: Any) -> Any:
        try:
            return super().load_overload(*given)
        except Exception:  # whatever unpickling a damaged file comes to
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *given: Any) -> None:
        with suppress(OSError):
            super().save_overload(*given)


class _Checked(IndexDataCacheFile):  # type: ignore[misc]
    """A digest goes before the machine code, which damaged would run all the same."""

    def _save_data(self, name: str, data: Any) -> None:
        packed = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(_digest(name, packed) + packed)

    def _load_data(self, name: str) -> Any:
        found = Path(self._data_path(name)).read_bytes()
        size = sha256().digest_size
        if found[:size] != _digest(name, found[size:]):
            raise OSError(f"{name} is damaged")  # as if it were not there
        return pickle.loads(found[size:])


def _digest(name: str, packed: bytes) -> bytes:
    return sha256(name.encode() + b"\0" + packed).digest()


@cache
def _folder(given: str) -> Path:
    """Where machine code is kept.

    Numba looks at a function's own file to tell whether what it kept is still true, and not at
    those of the functions that this one calls: so the name is that of all sources.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(given or (named if os.path.isabs(named) else Path.home() / ".cache")).absolute()
    return home / "imagine" / sha256_of(*sources)[:16]
