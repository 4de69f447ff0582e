"""stdout for answers, stderr for everything else, plain without a terminal."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagine_cli.errors import Remark
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


def answers() -> Console:
    """The console for what was asked: stdout, wide enough for its tables in a pipe.

    Without a terminal rich assumes 80 columns and would cut a table that nobody looks at through
    a window, so there the width is 160 unless COLUMNS says otherwise.
    """
    return _console(stderr=False)


def messages() -> Console:
    """The console for progress and remarks: stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 160
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def error_line(sentence: str) -> None:
    """One line on stderr, never wrapped: ``imagine: error: ...``."""
    print(f"imagine: error: {printable(sentence)}", file=sys.stderr)


def warning_line(sentence: str) -> None:
    """One line on stderr: ``imagine: warning: ...``."""
    print(f"imagine: warning: {printable(sentence)}", file=sys.stderr)


def remark_line(sentence: str) -> None:
    """One line on stderr, that warns of nothing: ``imagine: ...``."""
    print(f"imagine: {printable(sentence)}", file=sys.stderr)


@contextmanager
def as_lines(quiet: bool = False) -> Iterator[None]:
    """Inside, imagine's own warnings are printed as sentences and those of libraries are not.

    Remarks are printed too, but where it is to be quiet.
    """

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if category is Remark:
            if not quiet:
                remark_line(" ".join(str(message).split()))
        elif issubclass(category, UserWarning) and category.__module__ == "builtins":
            warning_line(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"imagine_cli(\.|$)")
        warnings.showwarning = show
        yield
