"""``imagine rollout --watch``: the fan chart in the terminal, growing as the rollout runs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from imagine_cli.errors import require
from imagine_cli.observation_names import labelled, observation_names

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console, RenderableType

    from imagine_cli.belief import Belief

_LEAST_HEIGHT, _MOST_HEIGHT = 9, 15
_WIDE = 110
_BELOW = 5  # lines of the bars, and the prompt
_MOST_POINTS = 512
_PAUSE = 0.2
# Drawing may take one part in so many of the time.
_SHARE = 20


class FanPanel:
    """The first trajectory of those that are imagined now, and a chart for each dimension of it.

    It is drawn in the thread that imagines, at most 5 times a second and for at most a twentieth
    of the time; the display's thread only shows what was drawn last.
    """

    def __init__(self, console: Console, steps: int) -> None:
        require("plot", "plotext")
        self._console, self._steps = console, steps
        self.env_id = ""  # of names and units, once it is known
        self._finished = 0
        self._begin()
        self._next = 0.0
        self._drawn: RenderableType | None = None

    def _begin(self) -> None:
        self._step, self._every = 0, 1
        self._points: list[tuple[int, np.ndarray, np.ndarray]] = []

    def see(self, count: int, belief: Belief) -> None:
        """``count`` trajectories were advanced by one step to these beliefs."""
        if self._step == self._steps:
            self._finished += count
            self._begin()
        self._step += 1
        last = self._step == self._steps
        if self._step % self._every and not last:
            return
        mean, var = belief.mean[0].cpu(), belief.var[0].diagonal().cpu()
        self._points.append((self._step, mean.double().numpy().copy(), var.double().numpy().copy()))
        if len(self._points) > _MOST_POINTS:
            self._points = self._points[1::2]
            self._every *= 2
        if time.monotonic() >= self._next:
            self.draw()

    def draw(self) -> None:
        """Bring the picture up to date."""
        if not self._points:
            return
        begun = time.monotonic()
        self._drawn = self._chart()
        now = time.monotonic()
        self._next = now + max(_PAUSE, _SHARE * (now - begun))

    def __call__(self) -> RenderableType | None:
        """What was drawn last."""
        return self._drawn

    def _chart(self) -> RenderableType:
        import numpy as np
        from rich.console import Group
        from rich.segment import SegmentLines
        from rich.table import Table
        from rich.text import Text

        from imagine_cli.plots.fan_data import Fan
        from imagine_cli.plots.terminal_chart import legend_line, terminal_chart
        from imagine_cli.printable import printable

        steps, means, variances = (np.array(column) for column in zip(*self._points, strict=True))
        sd = np.sqrt(np.maximum(variances, 0.0))
        fan = Fan(self._finished, steps, means, sd, None, None)
        size = means.shape[1]
        names = labelled(observation_names(self.env_id, size), self.env_id)
        columns, rows, width, height = _layout(self._console, size)
        shown = min(size, columns * rows)
        unicode = "utf" in self._console.encoding
        charts = [
            Text.from_ansi(
                terminal_chart(
                    fan, d, printable(names[d]), width=width, height=height, until=self._steps,
                    colour=not self._console.no_color, unicode=unicode, legend=False,
                )
            )
            for d in range(shown)
        ]  # fmt: skip
        grid = Table.grid(padding=(0, 1, 0, 0))
        which = f"trajectory {self._finished}, step {self._step} of {self._steps}"
        some = f", {shown} of {size} dimensions" if shown < size else ""
        caption = f"{which}{some}   {legend_line(unicode)}"
        for first in range(0, shown, columns):
            grid.add_row(*charts[first : first + columns])
        whole = Group(Text(caption, style="dim", no_wrap=True), grid)
        # As it comes out, once: the display's thread renews it more often than it changes.
        return SegmentLines(self._console.render_lines(whole, pad=False), new_lines=True)


def _layout(console: Console, size: int) -> tuple[int, int, int, int]:
    """Columns and rows of charts, and the width and height of each."""
    lines = max(_LEAST_HEIGHT, console.height - _BELOW)
    columns = 2 if console.width >= _WIDE and size > 1 else 1
    rows = max(1, min(math.ceil(size / columns), lines // _LEAST_HEIGHT))
    width = max(30, (console.width - 2 * columns) // columns)
    return columns, rows, width, min(_MOST_HEIGHT, lines // rows)
