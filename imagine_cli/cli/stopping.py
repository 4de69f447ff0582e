"""Ctrl-C and SIGTERM during work that can be gone on with later."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from imagine_cli.errors import DiskError, Interrupted

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stop:
    """What a signal asks for. The work calls :meth:`look` where it can stop."""

    def __init__(self) -> None:
        self._working = False
        self._asked: int | None = None

    def look(self) -> None:
        """Raises Interrupted where a signal came since the last time."""
        self._working = True
        if self._asked is not None:
            self._raise()

    def done(self, output: Path) -> None:
        """The work came to its end. As :meth:`look`, and from now on the first signal ends all."""
        self._working = False
        if self._asked is not None:
            print(f"imagine: {output} was finished all the same", file=sys.stderr)
            self._raise()

    def _raise(self) -> None:
        assert self._asked is not None
        word = "terminated" if self._asked == signal.SIGTERM else "interrupted"
        raise Interrupted(word, _STATUS[signal.Signals(self._asked)])

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The first signal lets the work get to where it looks; the second ends it at once."""
        if self._working and self._asked is None:
            self._asked = number
            with suppress(OSError):  # of a reader that is gone
                # Not print, which might be what was interrupted.
                os.write(2, b"imagine: finishing the steps in progress; once more stops at once\n")
        elif number == signal.SIGTERM:
            raise SystemExit(_STATUS[signal.SIGTERM])
        else:
            raise KeyboardInterrupt


@contextmanager
def stopping(output: Path) -> Iterator[Stop]:
    """Inside, signals ask the work to stop; what then stays of ``output`` is said on stderr."""
    stop = Stop()
    try:
        with _handlers(stop.handle, signal.SIGINT, signal.SIGTERM):
            yield stop
    except (KeyboardInterrupt, SystemExit, Interrupted, DiskError):
        partial = Path(os.path.realpath(output) + ".partial")
        if stop._working and partial.exists():
            again = shlex.join(["imagine", *(word for word in sys.argv[1:] if word != "--resume")])
            print(
                f"imagine: what was done is in {partial.name}; go on with: {again} --resume",
                file=sys.stderr,
            )
        raise


@contextmanager
def terminates() -> Iterator[None]:
    """Inside, SIGTERM unwinds the program, so that what it has half written is cleared away."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_STATUS[signal.SIGTERM])

    with _handlers(handle, signal.SIGTERM), _sent_again():
        yield


@contextmanager
def _sent_again() -> Iterator[None]:
    """Inside, a signal whose handler raised in vain is sent once more, a moment later.

    What is raised while Python clears an object away (``__del__``, a weak reference's callback) is
    printed there, and goes no further.
    """
    before, timers = sys.unraisablehook, list[threading.Timer]()

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        lost = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
        number = lost.get(unraisable.exc_type)
        if number is None:
            before(unraisable)
            return
        timers.append(threading.Timer(0.01, os.kill, (os.getpid(), number)))
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()


@contextmanager
def _handlers(
    handle: Callable[[int, FrameType | None], None], *numbers: signal.Signals
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    # What the caller has ignored (nohup, trap '' INT) stays ignored.
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = [(number, signal.signal(number, handle)) for number in heard]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
