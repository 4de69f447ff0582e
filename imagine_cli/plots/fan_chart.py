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
    "bound": "#d55e00",
}
_BOUND = "bound of the space"
_LEGEND = ("95 % band", "50 % band", "particles", "mean", "real", _BOUND)
_PANEL = (6.4, 1.9)


def fan_chart(fans: list[Fan], names: list[str], dimensions: list[int], title: str) -> Figure:
    """A panel for each dimension (rows) and trajectory (columns, whose axes are the same).

    Of one trajectory with more than 6 dimensions the panels go in two or three columns, line by
    line.
    """
    from matplotlib.figure import Figure

    count = len(dimensions)
    wide = len(fans) if len(fans) > 1 else 1 if count <= 6 else 2 if count <= 16 else 3
    high = count if len(fans) > 1 else math.ceil(count / wide)
    width = _PANEL[0] if wide == 1 else 4.2 * wide
    figure = Figure(figsize=(width, 1.2 + _PANEL[1] * high), layout="constrained", dpi=130)
    several = len(fans) > 1
    axes = figure.subplots(
        high, wide, squeeze=False, sharex=True, sharey="row" if several else "none"
    )
    panels = list(zip([(fan, d) for d in dimensions for fan in fans], axes.flat, strict=False))
    for (fan, d), axis in panels:
        _panel(axis, fan, d)
        if axis in axes[:, 0] or not several:
            axis.set_ylabel(plain(names[d]))
    for (fan, d), axis in panels:  # now that the axes are as long as the curves need
        _bounds(axis, fan.bounds(d))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for column in range(wide):
        used = [axis for axis in axes[:, column] if axis.get_visible()]
        used[-1].set_xlabel("step")
        used[-1].tick_params(labelbottom=True)
        if len(fans) > 1:
            used[0].set_title(f"trajectory {fans[column].trajectory}", fontsize="medium")
    drawn = [dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True)) for axis in axes.flat]
    legend = {name: part[name] for name in _LEGEND for part in drawn if name in part}
    add_title(figure, title, int(13 * width))
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", frameon=False,
        ncols=min(len(legend), int(width / 1.6)),
    )  # fmt: skip
    return figure


def _panel(axis: Any, fan: Fan, d: int) -> None:
    steps = fan.steps
    held: dict[str, Any] = {"step": "post"} if fan.held(d) else {}
    style: dict[str, Any] = {"drawstyle": "steps-post"} if fan.held(d) else {}
    if (fan.sd[:, d] > 0).any():
        for percent in (95, 50):
            low, high = fan.band(percent)
            name = f"{percent} % band"
            axis.fill_between(
                steps, low[:, d], high[:, d], color=COLOURS[name], linewidth=0, label=name,
                zorder=1, **held,
            )  # fmt: skip
        for edge in fan.band(95):  # seen where a band is thinner than a line, and on paper
            axis.plot(
                steps, edge[:, d], color=COLOURS["mean"], lw=0.5, ls=":", zorder=3,
                label="_95 % band", **style,
            )  # fmt: skip
    if fan.particles is not None and d < fan.particles.shape[-1]:
        ends = np.full((len(fan.particles), 1), np.nan)  # one line, with gaps
        heights = np.concatenate([fan.particles[..., d], ends], axis=1).ravel()
        axis.plot(
            np.tile([*steps, np.nan], len(ends)), heights, color=COLOURS["particles"], lw=0.4,
            alpha=0.7, zorder=2, label="particles",
        )  # fmt: skip
    axis.plot(
        steps, fan.mean[:, d], color=COLOURS["mean"], lw=1.6, zorder=4, label=fan.label,
        marker="s" if len(steps) < 3 else None, **style,
    )  # fmt: skip
    if fan.real is not None and np.isfinite(fan.real[:, d]).any():
        axis.plot(
            steps, fan.real[:, d], color=COLOURS["real"], lw=1.0, ls="--", zorder=5, label="real",
            marker="o", markersize=3, markerfacecolor="white", markevery=max(1, len(steps) // 25),
            **style,
        )  # fmt: skip
    axis.margins(x=0.01)
    axis.grid(True, color="#dddddd", linewidth=0.5, zorder=0)
    axis.set_axisbelow(True)
    if not np.isfinite(fan.mean[:, d]).any():
        axis.text(0.5, 0.5, "no finite number", transform=axis.transAxes, ha="center", va="center")


def _bounds(axis: Any, bounds: list[float]) -> None:
    """Where they are not so far away that the curves would be flat."""
    low, high = axis.get_ylim()
    for bound in bounds:
        if low - 0.5 * (high - low) <= bound <= high + 0.5 * (high - low):
            axis.axhline(bound, color=COLOURS["bound"], lw=0.9, ls="-.", zorder=2, label=_BOUND)
