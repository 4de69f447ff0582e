"""Pieces of work in turn, in one run: only such times can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["Work", "milliseconds"]

Work = Callable[[], object]
# Below so many runs a median says little.
_FEWEST = 5


def milliseconds(
    works: dict[str, Work], seconds: float = 2.0, device: str = "cpu"
) -> dict[str, float]:
    """The median time of each, run alternately (A B A B ...) for about ``seconds`` in all.

    Each is run once before, and at least five times however long that takes. On a device that
    works beside the CPU, the time is until it is done.
    """
    kind = torch.device(device).type

    def wait() -> None:
        if kind != "cpu":
            torch.accelerator.synchronize(device)

    for work in works.values():
        work()
    wait()
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < _FEWEST:
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            wait()
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in times.items()}
