"""An evaluation for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagine_cli.cli.console import answers
from imagine_cli.cli.tables import chosen, number_table, plural, plus_minus, significant, sparkline
from imagine_cli.evaluation.intervals import mean_and_error
from imagine_cli.evaluation.run_scores import RETURN_BIAS
from imagine_cli.evaluation.scores import MARGINAL
from imagine_cli.printable import printable

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from imagine_cli.evaluation.report import Evaluation, ModelReport
    from imagine_cli.evaluation.run_scores import RunScores

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
_MARGINAL = {name: heading.strip("|") for name, heading in _JOINT.items() if name in MARGINAL}


def shown_horizons(steps: int) -> list[int]:
    """Which horizons a table has: 1, 2, 5, 10, 20, 50, ... and the last."""
    round_ones = {k * 10**power for power in range(len(str(steps))) for k in (1, 2, 5)}
    return sorted({horizon for horizon in round_ones if horizon <= steps} | {steps})


def print_evaluation(found: Evaluation, *, dimensions: bool) -> None:
    """A ranking where there are several models, then tables by horizon for each."""
    console = answers()

    def line(text: str, style: str | None = None) -> None:
        console.print(printable(text), style=style, markup=False, soft_wrap=True)

    ended = int((found.lengths < found.steps).sum())
    early = f", {ended} of them ended by the env before that" if ended else ""
    line(
        f"{plural(found.trajectories, 'real trajectory')} of up to "
        f"{plural(found.steps, 'step')} of {found.env_id}, policy {found.policy}{early}"
    )
    console.print()
    lost: list[str] = []
    last = int(found.lengths.max())
    console.print(_ranking(found, console.width, lost))
    for report in found.models:
        console.print()
        line(f"{report.name}, {report.propagation}", "bold")
        if report.scores.returns is not None:
            imagined, real = map(_mean, report.scores.returns)
            line(f"return {imagined} imagined, {real} real: off by {_return_bias(report, last)}")
        console.print(_by_horizon(found, report.scores, console.width, lost))
        shown, some = chosen(
            [-float(skill) for skill in report.against["no change"].skill[last - 1]],
            "the least ahead of no change",
        )
        if dimensions and some:
            line(some)
        for d in shown if dimensions else ():
            name = found.observation_names[d]
            ahead = ", ".join(
                f"beats {baseline} until step {against.ahead[d]}"
                for baseline, against in report.against.items()
            )
            console.print()
            line(f"{name}: {ahead}")
            console.print(_by_horizon(found, report.scores, console.width, lost, d))
    notes = [f"{plus_minus()} and in brackets: 95 % intervals over trajectories"]
    if not dimensions and len(found.observation_names) > 1:
        notes.append("all dimensions together; --dimensions shows each, --json has every number")
    if lost:
        notes.append(f"left out at {console.width} columns, and in --json: {', '.join(lost)}")
    console.print("\n" + "\n".join(notes), style="dim", soft_wrap=True)


def _return_bias(report: ModelReport, last: int) -> str:
    if report.scores.returns is None:
        return "-"
    interval = report.scores.interval(RETURN_BIAS, last)
    return _cell(RETURN_BIAS, report.scores.value(RETURN_BIAS, last), interval)


def _mean(values: np.ndarray) -> str:
    mean, error = mean_and_error(values)
    return significant(mean) + ("" if math.isnan(error) else plus_minus() + significant(error, 1))


def _ranking(found: Evaluation, width: int, lost: list[str]) -> Table:
    """Best first, and to which step each is better than a baseline from the first one on."""
    last = int(found.lengths.max())
    columns: dict[str, list[str]] = {"model": [report.name for report in found.models]}
    columns["propagation"] = [report.propagation for report in found.models]
    columns["score"] = [
        _cell("score", report.score, report.scores.score_interval) for report in found.models
    ]
    for metric in ("rmse", "coverage90", "energy"):
        columns[f"{_JOINT[metric]} @{last}"] = [
            _cell(metric, scores.value(metric, last), scores.interval(metric, last))
            for scores in (report.scores for report in found.models)
        ]
    if any(report.scores.returns is not None for report in found.models):
        columns["return bias"] = [_return_bias(report, last) for report in found.models]
    for name in found.baselines:
        ahead = [report.against[name].ahead_overall for report in found.models]
        columns[f"beats {name}"] = [f"to step {step}" if step else "never" for step in ahead]
    columns["kind"] = [report.kind for report in found.models]
    least = [f"energy @{last}", "kind", f"90 % @{last}", "return bias"]
    if _width(columns, least) <= width:
        return _fitting(columns, least, width, lost, left=2)
    # What tells rows apart is in one column then, and the propagation over each model's table.
    del columns["propagation"]
    columns["model"] = [report.label for report in found.models]
    least += [f"beats {name}" for name in found.baselines]
    return _fitting(columns, least, width, lost, left=1)


def _by_horizon(
    found: Evaluation,
    scores: RunScores,
    width: int,
    lost: list[str],
    dimension: int | None = None,
) -> Table:
    metrics = _JOINT if dimension is None else _MARGINAL
    horizons = shown_horizons(found.steps)
    columns = {
        "step": [str(horizon) for horizon in horizons],
        "real": [str(scores.count[horizon - 1]) for horizon in horizons],
    }
    for metric, heading in metrics.items():
        columns[heading] = [
            _cell(metric, scores.value(metric, h, dimension), scores.interval(metric, h, dimension))
            for h in horizons
        ]
    pit = scores.joint_pit if dimension is None else scores.pit[:, dimension]
    columns["PIT"] = [_histogram(pit[horizon - 1]) for horizon in horizons]
    least = ["PIT", "calibration", "real", "width 90 %", "in 50 %"]
    least += ["energy", "joint 95 %", "90 %", "|bias|", "bias", "CRPS"]
    return _fitting(columns, least, width, lost, left=0)


def _fitting(
    columns: dict[str, list[str]], least: list[str], width: int, lost: list[str], left: int
) -> Table:
    """A table no wider than ``width``: without the columns ``least``, in turn, where it must.

    Those that it is without are added to ``lost``.
    """
    needed = dict(columns)
    for head in least:
        if head in needed and _width(needed) > width:
            del needed[head]
            lost += [head] * (head not in lost)
    rows = zip(*(columns[head] for head in needed), strict=True)
    return number_table(list(needed), list(rows), left=left)


def _width(columns: dict[str, list[str]], without: Sequence[str] = ()) -> int:
    """How wide a table of these is, leaving some out."""
    wide = [max(map(len, [h, *cells])) for h, cells in columns.items() if h not in without]
    return sum(wide) + 2 * (len(wide) - 1)  # with the gaps


def _histogram(counts: np.ndarray) -> str:
    """Ten bars from zero up: level where the belief is right, high at both ends where too sure."""
    bars = counts.reshape(10, -1).sum(-1).tolist()
    return sparkline(bars, low=0)


def _cell(metric: str, value: float, interval: tuple[float, float]) -> str:
    """A value with half its interval's width, or a share in % with its interval."""
    low, high = interval
    if math.isnan(value):
        return "-"
    if metric.startswith(("coverage", "mahalanobis")):
        return f"{100 * value:.1f} ({100 * low:.0f}-{100 * high:.0f}) %"
    if math.isinf(value):
        return str(value)
    return f"{significant(value)}{plus_minus()}{significant(0.5 * (high - low), 1)}"
