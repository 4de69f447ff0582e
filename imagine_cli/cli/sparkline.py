"""A series of numbers as one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["ASCII", "BLOCKS", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"


def sparkline(
    values: Sequence[float],
    *,
    low: float | None = None,
    high: float | None = None,
    levels: str = BLOCKS,
) -> str:
    """One character a value, from ``low`` to ``high`` (the least and the greatest by default).

    What is not finite is a ``?``; a series without any spread is a line at the bottom.
    """
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0) if low is None else low
    high = max(finite, default=0.0) if high is None else high
    top = len(levels) - 1

    def level(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        # Halved, since high - low may overflow.
        span = high / 2 - low / 2
        share = (value / 2 - low / 2) / span if span > 0 else 0.0
        return levels[min(top, max(0, round(share * top)))]

    return "".join(level(value) for value in values)
