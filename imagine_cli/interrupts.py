"""Ctrl-C kept away from libraries that it would break."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """What handles Ctrl-C and SIGTERM in Python does so at the end of the block, not inside it.

    Native code that calls Python code, as HDF5 and LLVM do, gets what a handler raises there, and
    goes on as if nothing had happened, or as if something else had.
    """
    held: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def deliver() -> None:
        for number, frame in held:
            handlers[number](number, frame)

    # Each of its callbacks is called, in reverse order, whatever a handler raises between them.
    with contextlib.ExitStack() as restore:
        restore.callback(deliver)
        if threading.current_thread() is threading.main_thread():  # which alone gets signals
            for one in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(one)
                if callable(handler):
                    handlers[one] = handler
                    restore.callback(signal.signal, one, handler)
                    signal.signal(one, lambda number, frame: held.append((number, frame)))
        yield
