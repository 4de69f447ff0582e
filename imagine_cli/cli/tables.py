"""How numbers and names look in a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagine_cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

MOST_DIMENSIONS = 30

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"


def significant(value: float, digits: int = 3) -> str:
    """``value`` with so many significant digits, in plain notation where that is short."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    power = _power(value, digits)
    if not -4 <= power < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - power)}f}"


def fixed(values: Sequence[float], digits: int = 4) -> list[str]:
    """Numbers that are compared: as many decimals each as the largest needs for ``digits``."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    power = _power(largest, digits) if largest else 0
    if not -4 <= power < 6:
        return [significant(value, digits - 1) for value in values]
    decimals = max(0, digits - 1 - power)
    texts = [f"{value:.{decimals}f}" for value in values]
    # What rounds to zero has no sign.
    return [text.lstrip("-") if float(text) == 0 else text for text in texts]


def times(count: int | None) -> str:
    """``once``, ``5 times``."""
    return "once" if count == 1 else f"{count} times"


def plural(count: int, noun: str) -> str:
    """``1 step``, ``50 steps``, ``2 trajectories``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def bytes_text(size: int) -> str:
    """``812 B``, ``14.2 kB``, ``3.10 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{significant(size / factor)} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """``45 seconds``, ``3.2 minutes``, ``14 hours``."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {name}"
    return f"{significant(seconds, 2 if seconds < 100 else 3)} seconds"


def speaks_unicode() -> bool:
    """Whether stdout's encoding has the characters of our tables."""
    try:
        "▁█±×".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def sparkline(values: Sequence[float], low: float | None = None, levels: str = "") -> str:
    """One character a value, from ``low`` to the greatest (the least by default).

    What is not finite is a ``?``; a series without any spread is a line at the bottom.
    """
    levels = levels or (BLOCKS if speaks_unicode() else ASCII)
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0) if low is None else low, max(finite, default=0.0)
    span = high / 2 - low / 2  # halved, since high - low may overflow
    top = len(levels) - 1

    def level(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        share = (value / 2 - low / 2) / span if span > 0 else 0.0
        return levels[min(top, max(0, round(share * top)))]

    return "".join(level(value) for value in values)


def plus_minus() -> str:
    """What stands for a standard deviation."""
    return "±" if speaks_unicode() else "+/-"


def chosen(interest: Sequence[float], which: str) -> tuple[list[int], str]:
    """The numbers of the dimensions to show, in order, and a caption where that is not all.

    All of up to 30; of more the ten of the greatest interest, which are those ``which``.
    """
    count = len(interest)
    if count <= MOST_DIMENSIONS:
        return list(range(count)), ""
    order = sorted(range(count), key=lambda k: 0.0 if math.isnan(interest[k]) else -interest[k])
    return sorted(order[:10]), f"10 of {count} dimensions, {which}; --json has all"


def fact_table(facts: Sequence[tuple[str, str]]) -> Table:
    """Labels, dim, and what they label; long values go on below themselves."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(Text(printable(label)), Text(printable(value)))
    return table


def number_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, caption: str = ""
) -> Table:
    """A table without lines: ``left`` columns of words, the others of numbers, to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim",
        caption=Text(printable(caption), style="dim") if caption else None, caption_justify="left",
    )  # fmt: skip
    for number, heading in enumerate(headings):
        table.add_column(
            Text(printable(heading)),
            justify="left" if number < left else "right",
            overflow="fold",  # nothing is cut
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _power(value: float, digits: int) -> int:
    """The power of ten of ``value`` as rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])
