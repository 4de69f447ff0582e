"""How the functions of this room become machine code: by Numba, once, kept in a cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

from imagine_cli.digest import sha256_of

__all__ = ["kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """``function``, compiled when it is first called.

    Every operation is rounded as it is written: what the compiler makes of a loop, which depends
    on where it is called from and on what lies where in memory, changes no bit.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
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


class _Kept(FunctionCache):  # type: ignore[misc]
    """Machine code in files that may be damaged, or no longer be written."""

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
