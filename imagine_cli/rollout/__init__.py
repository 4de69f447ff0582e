"""Rollouts: where they start, the engine that runs them, and the one call that does it all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.rollout.run import RolloutSummary as RolloutSummary
    from imagine_cli.rollout.run import run_rollout as run_rollout

__all__ = ["RolloutSummary", "run_rollout"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("imagine_cli.rollout.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
