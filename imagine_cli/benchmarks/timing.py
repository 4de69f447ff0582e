"""Pieces of work in turn, in one run: only such times can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]
# Below so many turns a median says little.
_FEWEST = 5
# A turn is at least so many seconds of work.
_TURN = 0.02
_UNCOUNTED = 3
# Of what takes longer, its beginning is a small part.
_LONG = 0.2


def milliseconds(
    works: dict[str, Work], seconds: float = 2.0, device: str = "cpu"
) -> dict[str, float]:
    """The median time of each, in turn (A B A B ...) for about ``seconds`` in all.

    A turn is several runs where one is short, as steps follow each other in a rollout, after a few
    that are not counted: right after another's work the caches are cold, its threads not yet
    asleep and its memory not yet given back. Each is run three times before, and at least for five
    turns however long that takes. On a device that works beside the CPU, the time is until it is
    done.
    """
    kind = torch.device(device).type

    def turn(work: Work, count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            work()
        if kind != "cpu":
            torch.accelerator.synchronize(device)
        return (time.perf_counter() - begun) / count

    for work in works.values():
        turn(work, 1)
    singles = {}
    for name, work in works.items():
        turn(work, 1)
        singles[name] = turn(work, 1)
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < _FEWEST:
        for name, work in works.items():
            if singles[name] < _LONG:
                turn(work, _UNCOUNTED if singles[name] < _TURN else 1)
            times[name].append(1e3 * turn(work, max(1, int(_TURN / singles[name]))))
    return {name: statistics.median(values) for name, values in times.items()}
