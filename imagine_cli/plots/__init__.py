"""Pictures of rollouts and evaluations: as files with matplotlib, in the terminal with plotext."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.plots.calibration import plot_evaluation as plot_evaluation
    from imagine_cli.plots.plot import plot_rollout as plot_rollout

_HOME = {"plot_evaluation": "calibration", "plot_rollout": "plot"}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
