"""Imagined against real: scores, baselines, gates, and whether two files say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.evaluation.compare import compare_rollouts as compare_rollouts
    from imagine_cli.evaluation.evaluate import Evaluation as Evaluation
    from imagine_cli.evaluation.evaluate import evaluate_model as evaluate_model
    from imagine_cli.evaluation.gates import Gate as Gate
    from imagine_cli.evaluation.gates import parse_gate as parse_gate
    from imagine_cli.evaluation.real import RealRun as RealRun
    from imagine_cli.evaluation.real import read_real as read_real
    from imagine_cli.evaluation.real import run_real as run_real
    from imagine_cli.evaluation.rerun import rerun_rollout as rerun_rollout
    from imagine_cli.evaluation.scores import Scores as Scores
    from imagine_cli.evaluation.two_samples import compare_distributions as compare_distributions

_HOME = {
    "Evaluation": "evaluate",
    "Gate": "gates",
    "RealRun": "real",
    "Scores": "scores",
    "compare_distributions": "two_samples",
    "compare_rollouts": "compare",
    "evaluate_model": "evaluate",
    "parse_gate": "gates",
    "read_real": "real",
    "rerun_rollout": "rerun",
    "run_real": "real",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
