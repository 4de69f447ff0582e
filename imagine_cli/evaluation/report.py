"""What an evaluation found, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.evaluation.intervals import mean_and_error
from imagine_cli.evaluation.run_scores import RETURN_BIAS, RunScores


class Comparison(NamedTuple):
    """A model against a baseline, by CRPS.

    ``skill`` ``(T, D)`` and ``overall`` ``(T,)`` are ``1 - crps / the baseline's``, overall with
    each dimension divided by its standard deviation in the real run. ``ahead`` ``(D,)`` and
    ``ahead_overall`` are how many steps the model is better from the first one on: 0 where it
    never is, T where it always is.
    """

    skill: np.ndarray
    overall: np.ndarray
    ahead: np.ndarray
    ahead_overall: int


@dataclass(frozen=True)
class ModelReport:
    """The scores of one model with one propagation.

    ``label`` is the name, with the propagation where the model is imagined with several.
    ``score``, by which models are ranked, is the mean CRPS over dimensions (each divided by its
    standard deviation in the real run) and horizons: 0 is perfect. A dimension that is constant
    but for rounding counts as it is.
    """

    name: str
    label: str
    kind: str
    propagation: str
    sha256: str
    scores: RunScores
    against: dict[str, Comparison]
    seconds: float

    @property
    def score(self) -> float:
        return self.scores.score


@dataclass(frozen=True)
class Evaluation:
    """Models, best first, against B real trajectories of up to T steps.

    ``lengths`` ``(B,)`` is how far each real trajectory went; ``baselines`` are the scores of
    "no change" and "linear-Gaussian".
    """

    env_id: str
    env_kwargs: dict[str, Any]
    policy: str
    seed: int
    steps: int
    trajectories: int
    observation_names: list[str]
    lengths: np.ndarray
    models: list[ModelReport]
    baselines: dict[str, RunScores]

    def as_dict(self) -> dict[str, Any]:
        """Plain data and arrays, as ``imagine evaluate --json`` prints it."""
        facts = ("env_id", "env_kwargs", "policy", "seed", "steps", "trajectories")
        return {
            "kind": "evaluation",
            **{name: getattr(self, name) for name in facts},
            "observation_names": self.observation_names,
            "horizons": list(range(1, self.steps + 1)),
            "models": [self._model(report) for report in self.models],
            "baselines": {name: self._scores(found) for name, found in self.baselines.items()},
        }

    def _model(self, report: ModelReport) -> dict[str, Any]:
        facts = ("name", "label", "kind", "propagation", "sha256", "score")
        return {
            **{name: getattr(report, name) for name in facts},
            "score_interval": report.scores.score_interval,
            "return": self._returns(report.scores),
            "seconds": round(report.seconds, 3),
            **self._scores(report.scores),
            "against": {
                name: {
                    "skill": found.overall,
                    "ahead_until": found.ahead_overall,
                    "dimensions": {
                        dimension: {"skill": found.skill[:, d], "ahead_until": int(found.ahead[d])}
                        for d, dimension in enumerate(self.observation_names)
                    },
                }
                for name, found in report.against.items()
            },
        }

    def _returns(self, scores: RunScores) -> dict[str, Any] | None:
        """Of the real steps' rewards, whose mean difference is ``return_bias`` at the last step."""
        if scores.returns is None:
            return None
        described = {}
        for name, values in zip(("imagined", "real"), scores.returns, strict=True):
            mean, error = mean_and_error(values)
            described[name] = {"mean": mean, "error_95": error, "each": values}
        return {
            **described,
            "difference": scores.value(RETURN_BIAS, self.steps),
            "interval": scores.interval(RETURN_BIAS, self.steps),
        }

    def _scores(self, scores: RunScores) -> dict[str, Any]:
        whole = {metric: scores.intervals(metric) for metric in scores.joint}
        each = {metric: scores.intervals(metric, True) for metric in scores.marginal}
        return {
            "count": scores.count,
            "overall": {**scores.joint, "pit": scores.joint_pit, "interval": whole},
            "dimensions": {
                name: {
                    **{metric: values[:, d] for metric, values in scores.marginal.items()},
                    "pit": scores.pit[:, d],
                    "interval": {metric: ends[:, d] for metric, ends in each.items()},
                }
                for d, name in enumerate(self.observation_names)
            },
        }


def compare_to(scores: RunScores, baseline: RunScores) -> Comparison:
    """``scores`` against a baseline's on the same run."""
    mine, others = scores.marginal["crps"], baseline.marginal["crps"]
    overall = scores.crps_by_horizon, baseline.crps_by_horizon
    with np.errstate(divide="ignore", invalid="ignore"):
        skill, skill_overall = 1.0 - mine / others, 1.0 - overall[0] / overall[1]
    return Comparison(
        skill,
        skill_overall,
        _ahead(mine < others, scores.count),
        int(_ahead((overall[0] < overall[1])[:, None], scores.count)[0]),
    )


def _ahead(better: np.ndarray, count: np.ndarray) -> np.ndarray:
    """``(T, D)`` -> ``(D,)``: how many of the first horizons in a row are True."""
    there = better & (count > 0)[:, None]
    return np.asarray(np.where(there.all(0), len(there), np.argmin(there, axis=0)))
