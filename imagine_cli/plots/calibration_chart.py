"""Reliability diagrams and PIT histograms with matplotlib.

Curves differ in colour (Okabe & Ito's, safe for colour-blind readers), in line style and in
marker, so that a black-and-white print says the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.plots.calibration_data import Calibration, Panel
from imagine_cli.plots.picture import add_title, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "ls": "-", "marker": "o"},
    {"color": "#d55e00", "ls": "--", "marker": "s"},
    {"color": "#000000", "ls": "-.", "marker": "^"},
    {"color": "#009e73", "ls": ":", "marker": "D"},
)
BAND = "#dddddd"
_FILL = "#79b8de"
_WIDTH, _HIGH = 8.0, 2.6


def calibration_chart(panels: list[Panel], title: str) -> Figure:
    """A row for each panel: observed against nominal coverage, and the PIT histogram.

    The grey band is where 19 of 20 points fall by chance though the belief is right: a binomial
    interval for the curve with the fewest real values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 1.3 + _HIGH * len(panels)), layout="constrained", dpi=130)
    axes = figure.subplots(len(panels), 2, squeeze=False, sharex="col")
    for row, panel in enumerate(panels):
        _reliability(axes[row, 0], panel.curves)
        _histogram(axes[row, 1], panel.curves)
        axes[row, 0].set_ylabel(f"{plain(panel.name)}\nobserved coverage [%]")
        axes[row, 1].set_ylabel("density")
    axes[0, 0].set_title("intervals: observed against nominal", fontsize="medium")
    axes[0, 1].set_title("PIT histogram", fontsize="medium")
    axes[-1, 0].set_xlabel("nominal coverage [%]")
    axes[-1, 1].set_xlabel("probability integral transform")
    add_title(figure, title, 100)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = 1 if max(map(len, labels)) > 40 else min(4, len(labels))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def binomial_interval(count: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 % quantiles of binomial shares ``(K,)`` of ``count`` trials."""
    k = np.arange(count + 1)
    log = np.array([math.lgamma(i + 1) for i in range(count + 1)])
    choices = log[-1] - log - log[::-1]
    ends: list[tuple[float, float]] = []
    for p in share:
        if not 0 < p < 1:
            ends.append((p, p))
            continue
        at_most = np.exp(choices + k * math.log(p) + (count - k) * math.log1p(-p)).cumsum()
        low, high = (float(np.searchsorted(at_most, level)) for level in (0.025, 0.975))
        ends.append((low / count, high / count))
    lows, highs = np.array(ends).T
    return lows, np.minimum(highs, 1.0)


def _reliability(axis: Any, curves: list[Calibration]) -> None:
    fewest = min(curve.count for curve in curves)
    grid = np.linspace(0, 1, 101)
    low, high = binomial_interval(fewest, grid)
    axis.fill_between(
        100 * grid, 100 * low, 100 * high, color=BAND, linewidth=0, zorder=1,
        label=f"95 % by chance, {fewest} real values",
    )  # fmt: skip
    axis.plot([0, 100], [0, 100], color="#777777", lw=0.8, zorder=2)
    for curve, style in zip(curves, STYLES, strict=False):
        axis.plot(
            100 * curve.nominal, 100 * curve.observed, **style, lw=1.4, markersize=4,
            markerfacecolor="white", label=plain(curve.label), zorder=3,
        )  # fmt: skip
    axis.set_xlim(-2, 102)
    axis.set_ylim(-4, 104)
    axis.set_xticks(range(0, 101, 25))
    axis.set_yticks(range(0, 101, 25))
    axis.grid(True, color="#eeeeee", linewidth=0.5, zorder=0)
    axis.set_axisbelow(True)


def _histogram(axis: Any, curves: list[Calibration]) -> None:
    bins = len(curves[0].pit)
    low, high = binomial_interval(min(curve.count for curve in curves), np.array([1 / bins]))
    axis.axhspan(bins * low[0], bins * high[0], color=BAND, linewidth=0, zorder=1)
    axis.axhline(1.0, color="#777777", lw=0.8, zorder=2)
    edges = np.linspace(0, 1, bins + 1)
    for curve, style in zip(curves, STYLES, strict=False):
        density = bins * curve.pit / curve.count
        if len(curves) == 1:
            axis.stairs(density, edges, fill=True, color=_FILL, alpha=0.6, zorder=1.5)
        axis.stairs(density, edges, color=style["color"], ls=style["ls"], lw=1.4, zorder=3)
        axis.plot(
            edges[:-1] + 0.5 / bins, density, ls="", marker=style["marker"], markersize=4,
            color=style["color"], markerfacecolor="white", zorder=4, label=f"_{plain(curve.label)}",
        )  # fmt: skip
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.04 * axis.get_ylim()[1], None)
    axis.grid(True, axis="y", color="#eeeeee", linewidth=0.5, zorder=0)
    axis.set_axisbelow(True)
