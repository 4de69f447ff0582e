"""One thread a process: tests run side by side, and two threads each would fight over cores."""

import os
import signal
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("RL_WARNINGS", "False")
# The readline library leaves these to the workers of pytest-xdist: they are no user's wish.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    """TorchRL's memory-mapped storage puts a handler of signals in place, and leaves it there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
