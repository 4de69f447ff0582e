"""Rollouts: where they start, the engine that runs them, and the one call that does it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.rollout.run import RolloutSummary as RolloutSummary
    from imagine_cli.rollout.run import run_rollout as run_rollout

_HOME = {"RolloutSummary": "run", "run_rollout": "run"}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
