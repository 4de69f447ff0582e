"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["IDLE", "one_thread"]

# What threads are called that hold no lock while they wait for work.
IDLE = "imagine-idle"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch.

    Matrices of a few hundred rows gain nothing from more, lose much where cores are shared, and
    the order of their sums, so the last bit, would depend on how many cores there are.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
