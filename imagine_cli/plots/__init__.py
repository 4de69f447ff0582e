"""Pictures of rollouts and evaluations: as files with matplotlib, in the terminal with plotext."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.plots.calibration import plot_evaluation as plot_evaluation
    from imagine_cli.plots.plot import plot_rollout as plot_rollout

_HOME = {"plot_evaluation": "calibration", "plot_rollout": "plot"}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
