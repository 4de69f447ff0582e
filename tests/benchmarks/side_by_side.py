"""Two pieces of work in turn, in one run: what the benchmark scripts here share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["milliseconds"]


def milliseconds(works: dict[str, Callable[[], object]], seconds: float = 2.0) -> dict[str, float]:
    """The median time of each, run alternately (A B A B ...) for about ``seconds`` in all."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in times.items()}
