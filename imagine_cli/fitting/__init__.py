"""From a real env to a world model of it."""

from __future__ import annotations

from imagine_cli.fitting.calibrate import calibrate_world_model
from imagine_cli.fitting.collect import collect
from imagine_cli.fitting.one_step import score_world_model
from imagine_cli.fitting.world_model import Fitted, fit_world_model
from imagine_cli.progress import Progress
from imagine_cli.scores import Scores, score
from imagine_cli.transitions.transitions import Transitions

__all__ = [
    "Fitted",
    "Progress",
    "Scores",
    "Transitions",
    "calibrate_world_model",
    "collect",
    "fit_world_model",
    "score",
    "score_world_model",
]
