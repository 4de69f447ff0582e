"""Fan charts with matplotlib.

Read by everyone: what differs in colour (Okabe & Ito's, safe for colour-blind readers) differs in
lightness and in line style too, so that a black-and-white print says the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.plots.fan_data import Fan
from imagine_cli.plots.picture import add_title, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "background": "#ffffff",
    "95 % band": "#c9e3f4",
    "50 % band": "#79b8de",
    "mean": "#0b4f8a",
    "real": "#000000",
    "particles": "#8a8a8a",
}
_PANEL = (6.4, 1.9)


def fan_chart(fans: list[Fan], names: list[str], dimensions: list[int], title: str) -> Figure:
    """A panel for each dimension (rows) and trajectory (columns).

    Of one trajectory with more than 6 dimensions the panels go in two or three columns.
    """
    from matplotlib.figure import Figure

    count = len(dimensions)
    wide = len(fans) if len(fans) > 1 else 1 if count <= 6 else 2 if count <= 16 else 3
    high = count if len(fans) > 1 else math.ceil(count / wide)
    width = _PANEL[0] if wide == 1 else 4.2 * wide
    figure = Figure(figsize=(width, 1.2 + _PANEL[1] * high), layout="constrained", dpi=130)
    axes = figure.subplots(high, wide, squeeze=False, sharex=True)
    panels = [
        (fan, d, axes[row, column] if len(fans) > 1 else axes[row % high, row // high])
        for column, fan in enumerate(fans)
        for row, d in enumerate(dimensions)
    ]
    for fan, d, axis in panels:
        _panel(axis, fan, d)
        axis.set_ylabel(plain(names[d]))
    for axis in axes.flat[: high * wide]:
        if not axis.has_data():
            axis.set_visible(False)
    for column in range(wide):
        used = [axis for axis in axes[:, column] if axis.get_visible()]
        used[-1].set_xlabel("step")
        used[-1].tick_params(labelbottom=True)
        if len(fans) > 1:
            used[0].set_title(f"trajectory {fans[column].trajectory}", fontsize="medium")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    add_title(figure, title, int(13 * width))
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _panel(axis: Any, fan: Fan, d: int) -> None:
    steps = fan.steps
    single = len(steps) < 3
    for percent in (95, 50):
        low, high = fan.band(percent)
        name = f"{percent} % band"
        axis.fill_between(
            steps, low[:, d], high[:, d], color=COLOURS[name], linewidth=0, label=name, zorder=1
        )
    low, high = fan.band(95)
    for edge in (low, high):  # seen where a band is thinner than a line, and on paper
        axis.plot(steps, edge[:, d], color=COLOURS["mean"], lw=0.5, ls=":", zorder=3)
    if fan.particles is not None:
        for number, particle in enumerate(fan.particles):
            label = "particles" if number == 0 else None
            axis.plot(
                steps, particle[:, d], color=COLOURS["particles"], lw=0.4, alpha=0.7, zorder=2,
                label=label,
            )  # fmt: skip
    axis.plot(
        steps, fan.mean[:, d], color=COLOURS["mean"], lw=1.6, zorder=4, label="mean",
        marker="s" if single else None,
    )  # fmt: skip
    if fan.real is not None:
        axis.plot(
            steps, fan.real[:, d], color=COLOURS["real"], lw=1.0, ls="--", zorder=5, label="real",
            marker="o", markersize=3, markerfacecolor="white", markevery=max(1, len(steps) // 25),
        )  # fmt: skip
    axis.margins(x=0.01)
    axis.grid(True, color="#dddddd", linewidth=0.5, zorder=0)
    axis.set_axisbelow(True)
    if not np.isfinite(fan.mean[:, d]).any():
        axis.text(0.5, 0.5, "no finite number", transform=axis.transAxes, ha="center", va="center")
