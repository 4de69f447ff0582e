"""How functions become machine code: by Numba, once, kept in its cache."""

from __future__ import annotations

import os
import pickle
import stat
import warnings
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

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """``function``, compiled when it is first called.

    Every operation is rounded as it is written, without ``fastmath``: what the compiler makes of a
    loop, which depends on the processor, on where it is called from and on what lies where in
    memory, changes no bit.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    dispatcher.compile = _whole(dispatcher.compile)
    given = numba.config.CACHE_DIR
    folder = _folder(given)
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)
        try:
            kept = _Cache(function)
        finally:
            numba.config.CACHE_DIR = given
        if folder in Path(kept.cache_path).parents:  # and not where Numba falls back to
            dispatcher._cache = kept
    return cast(_Function, dispatcher)


def _whole(compile: _Function) -> _Function:
    """Without Ctrl-C in the midst of it."""

    @wraps(compile)
    def whole(*given: Any) -> Any:
        with interrupts_held_back():
            return compile(*given)

    return cast(_Function, whole)


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's own, in files that may be damaged, or no longer be written.

    ``njit(cache=True)`` fails there, at every call from then on
    (``python tests/benchmarks/numba_limits.py``).
    """

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
def _folder(given: str) -> Path | None:
    """Where machine code is kept: in ``NUMBA_CACHE_DIR``, else in the user's cache folder.

    What is kept is a pickle, so that whoever can write it could have anything run: None, with a
    warning, where that is anyone but the user. None too where nothing can be written.

    Numba looks at a function's own file to tell whether what it kept is still true, and not at
    those of the functions that this one calls: so the name is that of all sources.
    """
    sources = sorted(Path(__file__).parents[3].rglob("compiled/*.py"))
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(given or (named if os.path.isabs(named) else Path.home() / ".cache")).resolve()
        folder = home / "imagine" / sha256_of(*sources)[:16]
        home.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
        shared = next(filter(_is_shared, (folder, folder.parent)), None)
        shared = shared or next(filter(_lets_replace, (home, *home.parents)), None)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    if shared is not None:
        warnings.warn(
            f"compiled functions are not kept, and take seconds in every process: {shared} belongs "
            "to others, or they can write to it; make it yours alone, or set NUMBA_CACHE_DIR",
            stacklevel=2,
        )
    return folder if shared is None and os.access(folder, os.W_OK) else None


def _is_shared(folder: Path) -> bool:
    """Whether anyone but the user can write to a folder, or has made it."""
    found = folder.stat()
    return os.name == "posix" and (found.st_uid != os.geteuid() or bool(found.st_mode & 0o022))


def _lets_replace(folder: Path) -> bool:
    """Whether everyone can put something else in the place of what is in a folder."""
    mode = folder.stat().st_mode
    return os.name == "posix" and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
