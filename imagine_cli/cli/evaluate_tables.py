"""An evaluation for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imagine_cli.cli.console import answers
from imagine_cli.cli.tables import number_table, plural, significant

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from imagine_cli.evaluation import Evaluation, Scores
    from imagine_cli.evaluation.report import ModelReport

__all__ = ["print_evaluation", "shown_horizons"]

_JOINT = {
    "rmse": "RMSE",
    "bias": "|bias|",
    "nll": "NLL",
    "crps": "CRPS",
    "energy": "energy",
    "coverage50": "in 50 %",
    "coverage90": "90 %",
    "coverage95": "95 %",
    "mahalanobis95": "joint 95 %",
    "sharpness": "width 90 %",
    "calibration": "calibration",
}
_MARGINAL = {
    name: {"bias": "bias"}.get(name, heading)
    for name, heading in _JOINT.items()
    if name not in ("energy", "mahalanobis95")
}


def shown_horizons(steps: int) -> list[int]:
    """Which horizons a table has: 1, 2, 5, 10, 20, 50, ... and the last."""
    round_ones = {k * 10**power for power in range(len(str(steps))) for k in (1, 2, 5)}
    return sorted({horizon for horizon in round_ones if horizon <= steps} | {steps})


def print_evaluation(found: Evaluation, *, dimensions: bool) -> None:
    """A ranking where there are several models, then tables by horizon for each."""
    console = answers()
    ended = int((found.lengths < found.steps).sum())
    early = f", {ended} of them ended by the env before that" if ended else ""
    console.print(
        f"{plural(found.trajectories, 'real trajectory')} of up to "
        f"{plural(found.steps, 'step')} of {found.env_id}, policy {found.policy}{early}",
        markup=False,
        soft_wrap=True,
    )
    console.print()
    console.print(_ranking(found))
    for report in found.models:
        console.print()
        console.print(report.name, style="bold", markup=False, soft_wrap=True)
        console.print(_by_horizon(found, report.scores))
        if dimensions:
            _print_dimensions(console, found, report)
    if not dimensions and len(found.observation_names) > 1:
        console.print()
        console.print("all dimensions together; --dimensions shows each", style="dim")


def _ranking(found: Evaluation) -> Table:
    """Best first, the baselines' horizons beside."""
    last = max(h for h in range(1, found.steps + 1) if _reached(found, h))
    headings = ["model", "kind", "score", f"RMSE @{last}", f"energy @{last}", f"90 % @{last}"]
    headings += [f"beats {name} to" for name in found.baselines]
    rows = []
    for report in found.models:
        scores = report.scores
        rows.append(
            [
                report.name,
                report.kind,
                significant(report.score),
                significant(scores.value("rmse", last)),
                significant(scores.value("energy", last)),
                _percent(scores.value("coverage90", last)),
                *(f"step {report.against[name].ahead_overall}" for name in found.baselines),
            ]
        )
    return number_table(headings, rows, left=2)


def _reached(found: Evaluation, horizon: int) -> bool:
    return bool((found.lengths >= horizon).any())


def _by_horizon(found: Evaluation, scores: Scores, dimension: int | None = None) -> Table:
    chosen = _JOINT if dimension is None else _MARGINAL
    rows = []
    for horizon in shown_horizons(found.steps):
        cells = [str(horizon), str(scores.count[horizon - 1])]
        for metric in chosen:
            value = scores.value(metric, horizon, dimension)
            share = metric.startswith(("coverage", "mahalanobis"))
            cells.append(_percent(value) if share else _number(value))
        rows.append(cells)
    return number_table(["step", "real", *chosen.values()], rows, left=0)


def _print_dimensions(console: Console, found: Evaluation, report: ModelReport) -> None:
    for d, name in enumerate(found.observation_names):
        ahead = ", ".join(
            f"beats {baseline} to step {against.ahead[d]}"
            for baseline, against in report.against.items()
        )
        console.print()
        console.print(f"{name}: {ahead}", markup=False, soft_wrap=True)
        console.print(_by_horizon(found, report.scores, d))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else significant(value)
