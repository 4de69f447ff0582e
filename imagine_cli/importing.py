"""Modules of the user's own, where the command line names them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def current_folder() -> Iterator[None]:
    """Inside, modules of the current folder are found first, as ``python -m`` does."""
    if getattr(sys.flags, "safe_path", sys.flags.isolated):  # python -P, -I
        yield
        return
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # a module may have taken it away itself
            sys.path.remove(folder)
