"""Pictures of rollouts: as files with matplotlib, in the terminal with plotext."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.plots.plot import plot_rollout as plot_rollout

__all__ = ["plot_rollout"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("imagine_cli.plots.plot"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
