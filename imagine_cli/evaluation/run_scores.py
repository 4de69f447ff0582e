"""Scores of a real run, each with its error over trajectories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagine_cli.evaluation.intervals import deciding, interval
from imagine_cli.scores import Scores

RETURN_BIAS = "return_bias"


@dataclass(frozen=True)
class RunScores(Scores):
    """Scores at the horizons 1 to T, and how far B trajectories determine them.

    Attributes:
        pit: ``(T, D, 20)`` counts of the probability integral transform in equal bins.
        joint_pit: ``(T, 20)``, those of the probability of the ellipsoid through what was real:
            uniform where the joint forecast is right, like ``pit`` where the marginal ones are.
        marginal_error, joint_error: the standard errors of ``marginal`` and ``joint``. Those of
            ``calibration`` and of the joint ``bias``, means of absolute values, are upper bounds.
        scaled_crps: ``(B, T)``: each trajectory's CRPS, the mean over dimensions in units of
            their spread in the real run; NaN after the trajectory's end.
        returns: ``(2, B)``, imagined and real: the rewards of each trajectory's real steps; None
            where they are not known. Then ``joint`` has :data:`RETURN_BIAS`, the mean of imagined
            minus real up to each horizon, of all B trajectories.
    """

    pit: np.ndarray
    joint_pit: np.ndarray
    marginal_error: dict[str, np.ndarray]
    joint_error: dict[str, np.ndarray]
    scaled_crps: np.ndarray
    returns: np.ndarray | None = None

    def interval(
        self, metric: str, horizon: int, dimension: int | None = None
    ) -> tuple[float, float]:
        """The 95 % interval of :meth:`value` over trajectories."""
        at = (horizon - 1,) if dimension is None else (horizon - 1, dimension)
        low, high = self.intervals(metric, dimension is not None)[at]
        return float(low), float(high)

    def deciding(
        self, metric: str, horizon: int, dimension: int | None, threshold: float
    ) -> int | None:
        """About how many trajectories tell :meth:`value` from ``threshold``; None: no number."""
        at = (horizon - 1,) if dimension is None else (horizon - 1, dimension)
        name, value, error, count, forecasts = self._known(metric, dimension is not None)
        mine = float(value[at]), float(error[at]), int(count[horizon - 1].item())
        return deciding(name, *mine, threshold, forecasts)

    def trajectories(self, metric: str) -> np.ndarray:
        """``(T,)``: of how many trajectories a metric is."""
        return (
            np.full_like(self.count, len(self.scaled_crps)) if metric == RETURN_BIAS else self.count
        )

    def intervals(self, metric: str, dimensions: bool = False) -> np.ndarray:
        """``(T, 2)``, or ``(T, D, 2)`` of each dimension: low and high ends."""
        return np.stack(interval(*self._known(metric, dimensions)), axis=-1)

    def _known(
        self, metric: str, dimensions: bool
    ) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, int]:
        """The arguments of :func:`interval`."""
        if dimensions:
            each, errors = self.marginal[metric], self.marginal_error[metric]
            return metric, each, errors, self.count[:, None], 1
        pooled = self.marginal["rmse"].shape[1] if metric.startswith("coverage") else 1
        name = {"bias": "absolute bias", RETURN_BIAS: "bias"}.get(metric, metric)
        count = self.trajectories(metric)
        return name, self.joint[metric], self.joint_error[metric], count, pooled

    @property
    def crps_by_horizon(self) -> np.ndarray:
        """``(T,)``: the mean of ``scaled_crps`` over the trajectories that get there."""
        return np.asarray(np.nansum(self.scaled_crps, axis=0) / np.maximum(self.count, 1))

    @property
    def score(self) -> float:
        """The mean of :attr:`crps_by_horizon` over the horizons that a trajectory reaches."""
        return float(self.crps_by_horizon[self.count > 0].mean())

    @property
    def score_interval(self) -> tuple[float, float]:
        """The 95 % interval of :attr:`score`: a trajectory's horizons are one cluster."""
        count = np.maximum(self.count, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = (self.scaled_crps - self.crps_by_horizon) / (count * (self.count > 0).sum())
            each = np.nansum(moved, axis=1)
            many = int((~np.isnan(self.scaled_crps)).any(1).sum())
            error = np.sqrt(many / (many - 1) * (each @ each)) if many > 1 else np.inf
        low, high = interval("crps", self.score, error, many)
        return float(low), float(high)
