"""Progress on stderr: bars on a terminal, lines without one, nothing where nobody asked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from imagine_cli.cli.console import as_lines, messages
from imagine_cli.cli.tables import duration
from imagine_cli.printable import printable
from imagine_cli.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as RichProgress
    from rich.progress import Task
    from rich.text import Text

# Seconds of a stage that tell of the rest, and how many there must be for a word of it.
_TRIAL, _LONG = 2.0, 60.0

Above = Callable[[], "RenderableType | None"]


@contextmanager
def progress(quiet: bool = False, above: Above | None = None) -> Iterator[Progress]:
    """A display that is taken down when the block ends, however it ends.

    On a terminal a bar for each stage, with count, rate, time left and note. Elsewhere one plain
    line when a stage begins, one once it is known that it takes over a minute, and one when it
    ends. With ``quiet`` nothing. What ``above`` gives
    is shown over the bars, anew with each of their pictures. Warnings are lines on stderr.
    """
    with as_lines(quiet):
        if quiet:
            yield Silent()
        elif is_live():
            bars = _Bars(above)
            with bars.progress:
                yield bars
        else:
            yield _Lines()


def is_live() -> bool:
    """Whether stderr is a terminal that pictures can be renewed on."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


class _Lines:
    """``running the env: 0 of 5000``, then ``running the env: 5000 of 5000 in 0.7 s``."""

    def __init__(self) -> None:
        self._name: str | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self.finish()
        self._name, self._total, self._count, self._note = name, total, 0, ""
        self._begun, self._foretold = time.monotonic(), False
        self._print(name if total is None else f"{name}: 0 of {total}")

    def advance(self, n: int = 1, note: str = "") -> None:
        self._count += n
        self._note = note or self._note
        taken = time.monotonic() - self._begun
        if self._foretold or not self._total or not self._count or taken < _TRIAL:
            return
        left = taken * (self._total / self._count - 1)
        if left > _LONG:
            self._foretold = True
            self._print(f"{self._name}: {self._count} of {self._total}, {duration(left)} left")

    def finish(self) -> None:
        if self._name is None:
            return
        count = "done" if self._total is None else f"{self._count} of {self._total}"
        note = f" ({self._note})" if self._note else ""
        self._print(f"{self._name}: {count} in {time.monotonic() - self._begun:.1f} s{note}")
        self._name = None

    def _print(self, line: str) -> None:
        with suppress(OSError):  # of a reader that is gone, which is no reason to end the work
            print(printable(line), file=sys.stderr, flush=True)


class _Bars:
    """A bar for each stage; those that ended stay, so that their times can be read."""

    def __init__(self, above: Above | None = None) -> None:
        self.progress = _rich_progress(above)
        self._task: Task | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self.finish()
        self._note = ""
        number = self.progress.add_task(printable(name), total=total, note="")
        self._task = next(task for task in self.progress.tasks if task.id == number)

    def advance(self, n: int = 1, note: str = "") -> None:
        if self._task is not None:
            self._note = note or self._note
            self.progress.update(self._task.id, advance=n, note=printable(self._note))

    def finish(self) -> None:
        task, self._task = self._task, None
        if task is not None and task.total is None:
            parts = task.completed or 1  # a bar of none would never look done
            self.progress.update(task.id, total=parts, completed=parts)


def _rich_progress(above: Above | None) -> RichProgress:
    from rich import progress as rich
    from rich.table import Column
    from rich.text import Text

    class RateColumn(rich.ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(_rate(task.finished_speed or task.speed), style="progress.data.speed")

    class TimeColumn(rich.TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            shown = super().render(task)
            return shown.append(" in all" if task.finished else " left")

    class BarsBelow(rich.Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            shown = None if above is None else above()
            if shown is not None:
                yield shown
            yield self.make_tasks_table(self.tasks)

    whole, folds = Column(no_wrap=True), Column(overflow="fold")
    return BarsBelow(
        rich.TextColumn("{task.description}", markup=False, table_column=folds),
        rich.BarColumn(bar_width=30 if messages().width >= 120 else 10),
        rich.MofNCompleteColumn(table_column=whole),
        RateColumn(table_column=whole),
        TimeColumn(elapsed_when_finished=True, table_column=whole),
        rich.TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=folds),
        console=messages(),
        refresh_per_second=10 if above is None else 5,
    )


def _rate(speed: float | None) -> str:
    """Parts a second, or seconds a part where that is the larger number."""
    if not speed:
        return ""
    if speed < 1:
        return f"{1 / speed:.1f} s each"
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"
