"""Fan charts in the terminal, with plotext."""

from __future__ import annotations

import math

import numpy as np

from imagine_cli.errors import require
from imagine_cli.plots.fan_data import Fan

_HEIGHT = 15
_MARKS = {True: ("⣀", "·", ":"), False: ("*", ".", ":")}
_TO_ASCII = str.maketrans("┌┐└┘┬┴├┤┼─│", "+++++++++-|")


def legend_line(unicode: bool) -> str:
    """What the marks of charts without a legend of their own mean."""
    line, outer, inner = _MARKS[unicode]
    return f"{line} mean  {inner} 50 %  {outer} 95 %"


def round_ticks(low: float, high: float, most: int) -> tuple[list[float], list[str]]:
    """About ``most`` multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``."""
    least = (high - low) / most
    power = math.floor(math.log10(least))
    step = next(k for k in (1, 2, 5, 10) if k * 10.0**power >= 0.999 * least)
    if step == 10:
        step, power = 1, power + 1
    numbers = range(
        math.ceil(low / (step * 10.0**power)), math.floor(high / (step * 10.0**power)) + 1
    )
    ticks = [step * k * 10.0**power for k in numbers]
    if not -4 <= power < 6:
        return ticks, [f"{tick:.4g}" for tick in ticks]
    return ticks, [f"{tick:.{max(0, -power)}f}" for tick in ticks]


def terminal_chart(
    fan: Fan,
    d: int,
    name: str,
    *,
    width: int,
    colour: bool,
    unicode: bool,
    height: int = _HEIGHT,
    until: int | None = None,
    legend: bool = True,
) -> str:
    """One dimension: the mean, and the ends of the 50 and 95 % bands, as lines of text.

    The steps go from 0 to ``until``, or over those that the fan has.
    """
    require("plot", "plotext")
    import plotext

    line, *dots = _MARKS[unicode]
    marks = ("braille" if unicode else line, *dots)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.title(name if unicode else name.encode("ascii", "replace").decode())
    plotext.xlabel("step")
    bands = [
        (fan.band(95)[0], marks[1], "blue", "95 % between"),
        (fan.band(95)[1], marks[1], "blue", None),
        (fan.band(50)[0], marks[2], "cyan", "50 % between"),
        (fan.band(50)[1], marks[2], "cyan", None),
    ]
    uncertain = bool((fan.sd[:, d] > 0).any())
    series = [*bands * uncertain, (fan.mean, marks[0], "white", fan.label)]
    for values, mark, shade, label in series:
        there = np.isfinite(values[:, d])
        if there.any():
            plotext.plot(
                fan.steps[there].tolist(),
                values[there, d].tolist(),
                marker=mark,
                color=shade if colour else "default",
                label=label if legend else None,
            )
    heights = np.concatenate([values[:, d] for values, *_ in series])
    heights = heights[np.isfinite(heights)]
    if heights.size:
        low, high = float(heights.min()), float(heights.max())
        if not high - low > 1e-12 * max(abs(low), abs(high)):  # a line that is level
            low, high = low - 1.0, high + 1.0
        plotext.ylim(low, high)
        plotext.yticks(*round_ticks(low, high, (height - 3) // 2))
    last = int(fan.steps[-1]) if until is None else until
    plotext.xlim(0, last)
    plotext.xticks(*round_ticks(0, last, min(5, last)))
    drawn: str = plotext.build()
    if not colour:
        drawn = str(plotext.uncolorize(drawn))
    return drawn if unicode else drawn.translate(_TO_ASCII)
