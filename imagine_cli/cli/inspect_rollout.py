"""``imagine inspect`` of a rollout, for people; for programs see the document and the CSV."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_cli.cli.console import answers, messages, warning_line
from imagine_cli.cli.tables import (
    bytes_text,
    chosen,
    fact_table,
    fixed,
    number_table,
    plural,
    plus_minus,
    significant,
    sparkline,
    speaks_unicode,
)
from imagine_cli.inspection.checks import check_there
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from imagine_cli.inspection.statistics import Course, Statistics
    from imagine_cli.recording.provenance import Finding
    from imagine_cli.recording.reader import Rollout

_SLOW_BYTES = 64 * 1024 * 1024
_MOST_WARNINGS = 10
_MOST_EPISODES = 10
_NAME_WIDTH = 18
_STRETCHES = 240
_LONGEST_SPARKLINE = 48


def inspect_rollout(
    path: Path, *, json: bool, csv: bool, trajectory: int | None, step: int | None
) -> None:
    """Print what ``imagine inspect`` prints of the rollout at ``path``. Raises InputError."""
    from imagine_cli.inspection.statistics import compute
    from imagine_cli.recording.reader import open_rollout

    with open_rollout(path) as rollout:
        check_there(rollout, trajectory, step)
        if csv:
            from imagine_cli.cli.inspect_csv import write_csv

            _warn(rollout.warnings)
            write_csv(rollout, sys.stdout, trajectory=trajectory, step=step)
            return
        with _progress(rollout) as progress:
            stats = compute(rollout, trajectory, bins=40 if json else _STRETCHES, progress=progress)
        if json:
            from imagine_cli.cli.inspect_document import as_json, rollout_document

            print(as_json(rollout_document(rollout, stats, step)))
            return
        console = answers()
        console.print(_provenance(rollout, _episodes(rollout, stats)))
        console.print()
        over = _over(rollout, trajectory)
        if step is None:
            console.print(f"{over[0].upper()}{over[1:]}", style="bold")
            narrow = console.measure(_course_table(rollout, stats, console.width, 1)).maximum
            line = max(8, min(_LONGEST_SPARKLINE, console.width - narrow + 1))
            console.print(_course_table(rollout, stats, console.width, line))
        else:
            from imagine_cli.cli.inspect_step import print_step

            console.print(f"Step {step} of {rollout.steps}, {over}", style="bold")
            print_step(console, rollout, trajectory, step)
    sys.stdout.flush()  # so that in a terminal the warnings come below the table
    _warn(stats.warnings)


def _over(rollout: Rollout, trajectory: int | None) -> str:
    """Which trajectories the numbers are about, and how they are averaged."""
    if trajectory is not None:
        which = f"trajectory {trajectory} of {rollout.trajectories} (counted from 0)"
    elif rollout.trajectories == 1:
        which = "the one trajectory"
    else:
        return (
            f"over the {rollout.trajectories} trajectories: mean of the means, "
            f"{plus_minus()} root mean square of the standard deviations"
        )
    return f"in {which}: mean and {plus_minus()} standard deviation"


def _warn(findings: list[Finding]) -> None:
    for finding in findings[:_MOST_WARNINGS]:
        warning_line(finding.message)
    if len(findings) > _MOST_WARNINGS:
        warning_line(f"and {len(findings) - _MOST_WARNINGS} more; --json has them all")


def _provenance(rollout: Rollout, episodes: list[tuple[str, str]]) -> Table:
    state = {True: "complete", False: "INCOMPLETE", None: "complete or not: it does not say"}
    sizes = [
        f"{plural(rollout.trajectories, 'trajectory')} {'×' if speaks_unicode() else 'x'} "
        f"{plural(rollout.steps, 'step')}",
        plural(rollout.observation_size, "observation"),
        plural(rollout.action_size, "action") if rollout.action_size else "no actions",
    ]
    if rollout.particle_count:
        sizes.append(plural(rollout.particle_count, "particle"))
    model = (
        rollout.model_path,
        rollout.model_kind and f"({rollout.model_kind})",
        rollout.model_sha256 and f"sha256 {rollout.model_sha256[:12]}",
    )
    env = rollout.env_id
    if env and rollout.env_kwargs:
        env += " " + ", ".join(f"{key}={value!r}" for key, value in rollout.env_kwargs.items())
    size = bytes_text(rollout.stored_bytes)
    facts = [
        ("rollout", f"{rollout.path}, {size}, {state[rollout.complete]}"),
        ("shape", ", ".join([*sizes, rollout.dtype.name])),
        ("env", env),
        ("model", " ".join(part for part in model if part)),
        ("policy", rollout.policy),
        ("propagation", rollout.propagation),
        ("seed", None if rollout.seed is None else str(rollout.seed)),
        *((name.replace("_", " "), str(value)) for name, value in rollout.extra.items()),
        ("created", rollout.created),
        ("with", ", ".join(f"{name} {text}" for name, text in rollout.versions.items())),
        ("command", rollout.command),
        *episodes,
    ]
    return fact_table([(label, value or "not said") for label, value in facts])


def _episodes(rollout: Rollout, stats: Statistics) -> list[tuple[str, str]]:
    """What came of the trajectories, and of each of a real run."""
    returns, lengths, facts = stats.returns, stats.lengths, []
    if stats.alike:
        facts.append(("alike", f"all {len(lengths)} trajectories; one of them says as much"))
    if returns is not None:
        said = significant(float(returns.mean()), 4)
        if len(returns) > 1:
            low, high, sd = float(returns.min()), float(returns.max()), float(returns.std(ddof=1))
            said += f" on average, sd {significant(sd)}"
            said += f", from {significant(low, 4)} to {significant(high, 4)}"
        facts.append(("return", said))
    if rollout.attributes.get("real"):
        ended = int((lengths < rollout.steps).sum())
        facts.append(("ended", f"{ended} of {len(lengths)} before step {rollout.steps}"))
        each = [
            f"{k}: {length} steps"
            + ("" if returns is None else f", return {significant(float(returns[k]), 4)}")
            for k, length in enumerate(lengths[:_MOST_EPISODES].tolist())
        ]
        if stats.trajectory is None:
            more = ["..., see --json"] if len(lengths) > _MOST_EPISODES else []
            facts.append(("episodes", "; ".join([*each, *more])))
        else:
            facts.append(("length", plural(int(lengths[0]), "step")))
    return facts


def _shown(count: int, width: int) -> list[int]:
    """Which of so many landmarks, by position: all where they fit, else start, middle, end."""
    places = list(range(count))
    return places if width >= 78 or count < 4 else [0, count // 2, count - 1]


def _course_table(rollout: Rollout, stats: Statistics, width: int, line: int) -> Table:
    """Two rows for each dimension, ``line`` characters of sparkline at their ends."""
    shown = _shown(len(stats.observation.steps), width)
    course = stats.observation
    last = [0.0] * len(course.mean[-1]) if course.sd is None else course.sd[-1].tolist()
    dimensions, caption = chosen(last, "the least sure at the end")
    headings = ["", "", *_headings(stats.observation, shown), ""]
    table = number_table(headings, [], left=2, caption=caption)
    table.columns[0].max_width = _NAME_WIDTH
    table.columns[-1].justify = "left"
    for d in dimensions:
        name = rollout.observation_names[d]
        _course_rows(table, name, stats.observation, d, shown, line)
    if stats.reward is not None:
        there = [place for place in shown if place < len(stats.reward.steps)]
        table.add_row("", "", *_headings(stats.reward, there), style="dim")
        _course_rows(table, "reward", stats.reward, 0, there, line)
    return table


def _headings(course: Course, shown: list[int]) -> list[str]:
    steps = [int(course.steps[place]) for place in shown]
    return [f"step {step}" if step == 0 else str(step) for step in steps]


def _course_rows(
    table: Table, name: str, course: Course, k: int, shown: list[int], line: int
) -> None:
    """Two lines: the means, and below them the standard deviations where there are any."""
    from rich.text import Text

    empty = [""] * (len(table.columns) - 3 - len(shown))
    means = fixed([float(course.mean[place, k]) for place in shown])
    mean_course, sd_course = course.condensed(line)
    picture = sparkline(mean_course[:, k].tolist())
    table.add_row(Text(printable(name)), Text("mean", style="dim"), *means, *empty, picture)
    if course.sd is not None and sd_course is not None:
        sds = [significant(float(course.sd[place, k])) for place in shown]
        picture = sparkline(sd_course[:, k].tolist(), low=0.0)
        table.add_row("", Text(plus_minus()), *sds, *empty, picture, style="dim")


@contextlib.contextmanager
def _progress(rollout: Rollout) -> Iterator[Callable[[float], None] | None]:
    """A line on the terminal while a large file is read; nothing for a small one or in a pipe."""
    shape = rollout.datasets["observation/var"]
    size = shape[0] * shape[1] * shape[2] ** 2 * rollout.dtype.itemsize
    console = messages()
    if size < _SLOW_BYTES or not console.is_terminal:
        yield None
        return
    with console.status("reading") as status:
        yield lambda share: status.update(f"reading {rollout.path.name}: {share:.0%}")
