"""Python's warnings as one line each on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imagine_cli.cli.console import warning_line

__all__ = ["as_lines"]


@contextmanager
def as_lines() -> Iterator[None]:
    """Inside, imagine's own warnings are printed as sentences and those of libraries are not."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning) and category.__module__ == "builtins":
            warning_line(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"imagine_cli(\.|$)")
        warnings.showwarning = show
        yield
