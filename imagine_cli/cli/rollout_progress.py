"""What ``imagine rollout`` tells of itself while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.belief import Belief
    from imagine_cli.cli.fan_panel import FanPanel
    from imagine_cli.progress import Progress
    from imagine_cli.rollout.engine import EngineProgress


def growing_panel(steps: int) -> FanPanel | None:
    """The chart that grows; None where there is no terminal to show it on."""
    from imagine_cli.cli.progress import is_live

    if not is_live():
        return None
    from imagine_cli.cli.console import messages
    from imagine_cli.cli.fan_panel import FanPanel

    return FanPanel(messages(), steps)


class Teller:
    """Tells the display, at most ten times a second, how far the rollout is and how sure.

    The panel, where there is one, sees every belief.
    """

    def __init__(
        self, display: Progress, steps: int, trajectories: int, panel: FanPanel | None
    ) -> None:
        self._display, self._steps, self._trajectories = display, steps, trajectories
        self._panel = panel
        self._done = self._told = 0
        self._begun = False
        self._next = 0.0
        self._var: Any = None

    def __call__(self, trajectories: int, belief: Belief) -> None:
        self._begin()
        self._done += trajectories
        self._var = belief.var
        if self._panel is not None:
            self._panel.see(trajectories, belief)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.1
            self._tell()

    def tally(self, progress: EngineProgress) -> None:
        """What workers did, in place of the beliefs, which aren't seen here."""
        self._begin()
        tallies = progress.workers.values()
        self._done = sum(tally.steps for tally in tallies)
        shards = sum(tally.shards for tally in tallies)
        lost = f", {progress.lost} lost" if progress.lost else ""
        note = f"{shards} shards, {progress.running} tasks at {len(tallies)} workers{lost}"
        self._display.advance(self._done - self._told, note=note)
        self._told = self._done

    def finish(self) -> None:
        if self._panel is not None:
            self._panel.draw()
        if self._told < self._done:
            self._tell()
        self._display.finish()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._display.stage("imagining", total=self._steps * self._trajectories)

    def _tell(self) -> None:
        finished = self._done // self._steps
        sd = self._var.diagonal(dim1=-2, dim2=-1).mean(0).sqrt().tolist()
        shown = " ".join(f"{value:.2g}" for value in sd[:4]) + (" ..." if len(sd) > 4 else "")
        note = f"{finished}/{self._trajectories} trajectories  sd {shown}"
        self._display.advance(self._done - self._told, note=note)
        self._told = self._done
