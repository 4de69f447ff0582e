"""How many threads torch computes with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["IDLE", "one_thread"]

# What threads are called that hold no lock while they wait for work.
IDLE = "imagine-idle"

# Blocks of :func:`one_thread` that are in progress, and the threads there were before the first.
_lock = threading.Lock()
_blocks = _threads = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch.

    Matrices of a few hundred rows gain nothing from more, lose much where cores are shared, and
    the order of their sums, so the last bit, would depend on how many cores there are.
    """
    import torch

    global _blocks, _threads
    with _lock:
        if _blocks == 0:
            _threads = torch.get_num_threads()
        _blocks += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            torch.set_num_threads(_threads)
