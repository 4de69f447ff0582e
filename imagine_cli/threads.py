"""How many threads torch computes with, and how they wait for each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Some tens of microseconds: longer than torch computes between one use of its threads and the next.
_SPINS = "5000"

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


def wait_briefly() -> None:
    """Have threads of OpenMP (GNU's) that wait for work sleep after a while; before torch is there.

    They spin for milliseconds otherwise. On a machine whose cores are all in use, by another
    rollout say, they then take the time of the very threads that they wait for, and everything
    takes a hundred times as long. What the user's environment says stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
