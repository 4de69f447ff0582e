"""From a real env to a world model of it."""

from __future__ import annotations

from imagine_cli.fitting.collect import Transitions, collect
from imagine_cli.fitting.scores import Scores, score, score_world_model
from imagine_cli.fitting.world_model import Fitted, fit_world_model
from imagine_cli.progress import Progress

__all__ = [
    "Fitted",
    "Progress",
    "Scores",
    "Transitions",
    "collect",
    "fit_world_model",
    "score",
    "score_world_model",
]
