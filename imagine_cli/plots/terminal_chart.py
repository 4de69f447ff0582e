"""Fan charts in the terminal, with plotext."""

from __future__ import annotations

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
    if until is not None:
        plotext.xlim(0, until)
    plotext.title(name if unicode else name.encode("ascii", "replace").decode())
    plotext.xlabel("step")
    series = [
        (fan.band(95)[0], marks[1], "blue", "95 % between"),
        (fan.band(95)[1], marks[1], "blue", None),
        (fan.band(50)[0], marks[2], "cyan", "50 % between"),
        (fan.band(50)[1], marks[2], "cyan", None),
        (fan.mean, marks[0], "white", "mean"),
    ]
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
    drawn: str = plotext.build()
    if not colour:
        drawn = str(plotext.uncolorize(drawn))
    return drawn if unicode else drawn.translate(_TO_ASCII)
