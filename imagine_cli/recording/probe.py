"""Whether a library survives a file, tried out in a process of its own.

HDF5's, and Parquet's, are written for files that they wrote themselves. One that is damaged on
purpose, its checksums right again, can still end the process with a segmentation fault or keep it
busy for ever. The command tries first; a program that imports imagine_cli is never forked.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from imagine_cli.errors import InputError

# Of processor time, for what takes some hundredths.
_SECONDS = 10

# Of all time, after which a copy waits for a lock, or for a disk.
_WAITS = 60

_probing = ContextVar("probing", default=False)


@contextmanager
def probing() -> Iterator[None]:
    """While it is entered :func:`check_survives` tries; else it does nothing."""
    token = _probing.set(True)
    try:
        yield
    finally:
        _probing.reset(token)


def check_survives(work: Callable[[], object], path: Path, library: str = "HDF5") -> None:
    """Do ``work`` in a copy of this process; InputError if that crashes or does not end.

    Whatever else becomes of it, such as an exception, is left to be found out again. Where
    processes can't be copied nothing is tried. A copy has no other threads, such as that of a
    progress display; where one of them held a lock that is waited for, nothing was found out.
    """
    if not _probing.get() or not hasattr(os, "fork"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: they aren't needed
        child = os.fork()
    if child == 0:
        try:
            _limit()
            work()
        finally:
            os._exit(0)
    try:
        _, status = os.waitpid(child, 0)
    except ChildProcessError:  # SIGCHLD is ignored, and how it ended is not to be known
        return
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGINT, signal.SIGALRM):
        hung = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        raise InputError(
            f"{path} is damaged and can't be opened: the {library} library "
            f"{'does not come to an end with it' if hung else 'crashes on it'}"
        )


def _limit() -> None:
    """No signal handler of Python's, no report and no core file of a crash, and an end."""
    import faulthandler
    import resource

    faulthandler.disable()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(_WAITS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))
