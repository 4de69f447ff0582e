"""Scores of Gaussian beliefs against what really happened, for every horizon and dimension.

A :class:`ScoreKeeper` sees beliefs shard by shard and keeps sums, so that memory is that of one
shard whatever B is.
"""

from __future__ import annotations

import numpy as np

from imagine_cli.errors import require
from imagine_cli.evaluation.energy import energy_score
from imagine_cli.scores import QUANTILES, Scores, condense, errors, marginal_terms

LEVELS = tuple(QUANTILES)
PIT_BINS = 20
_COVERAGE = tuple(f"coverage{level}" for level in LEVELS)
MARGINAL = ("rmse", "bias", "nll", "crps", *_COVERAGE, "sharpness", "calibration")
"""Metrics that each dimension has."""
JOINT = ("energy", *(f"mahalanobis{level}" for level in LEVELS))
"""Metrics that only the observation as a whole has."""

_SUMS = ("square", "error", "nll", "crps", *_COVERAGE, "sharpness")


def require_scores() -> None:
    """MissingExtraError where scoringrules or scipy is not installed."""
    require("evaluate", "scipy", "scoringrules")


class ScoreKeeper:
    """Scores beliefs against ``observations`` ``(B, T+1, D)`` where ``lengths`` ``(B,)`` reach."""

    def __init__(self, observations: np.ndarray, lengths: np.ndarray) -> None:
        require_scores()
        self.observations, self.lengths = observations, lengths
        self.steps, self.size = observations.shape[1] - 1, observations.shape[2]
        steps, size = self.steps, self.size
        self._count = np.zeros(steps, dtype=np.int64)
        self._marginal = {name: np.zeros((steps, size)) for name in _SUMS}
        self._joint = {name: np.zeros(steps) for name in ("nll", *JOINT)}
        self._pit = np.zeros(steps * size * PIT_BINS, dtype=np.int64)
        self._joint_pit = np.zeros(steps * PIT_BINS, dtype=np.int64)

    def add(
        self,
        first_trajectory: int,
        first_step: int,
        observation_mean: np.ndarray,
        observation_var: np.ndarray,
    ) -> None:
        """Beliefs ``(b, t, D)`` and ``(b, t, D, D)`` at the steps from ``first_step`` on.

        Those at step 0, from which trajectories begin, are not scored.
        """
        if first_step == 0:
            observation_mean, observation_var = observation_mean[:, 1:], observation_var[:, 1:]
        else:
            first_step -= 1  # the first horizon of these
        b, t = observation_mean.shape[:2]
        rows = slice(first_trajectory, first_trajectory + b)
        horizons = slice(first_step, first_step + t)
        there = self.lengths[rows, None] > np.arange(first_step, first_step + t)
        if not there.any():
            return
        epsilon = float(np.finfo(observation_var.dtype).eps)
        mean = observation_mean[there].astype(np.float64)
        var = observation_var[there].astype(np.float64)
        real = self.observations[rows, first_step + 1 : first_step + 1 + t][there]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            marginal, pit = _marginal(real, mean, np.diagonal(var, axis1=-2, axis2=-1))
            joint, inside = _joint(real - mean, var, epsilon)
        self._count[horizons] += there.sum(0)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs
            for sums, terms in ((self._marginal, marginal), (self._joint, joint)):
                for name, values in terms.items():
                    each = np.zeros((b, t, *values.shape[1:]))
                    each[there] = values
                    sums[name][horizons] += each.sum(0)
        horizon = first_step + np.broadcast_to(np.arange(t), (b, t))[there]
        place = horizon[:, None] * self.size + np.arange(self.size)
        self._pit += _counted(place, pit, len(self._pit))
        self._joint_pit += _counted(horizon, inside, len(self._joint_pit))

    def scores(self) -> Scores:
        """What has been seen so far, condensed."""
        with np.errstate(divide="ignore", invalid="ignore"):
            each = {name: sums / self._count[:, None] for name, sums in self._marginal.items()}
            joint = {name: sums / self._count for name, sums in self._joint.items()}
            pit = self._pit.reshape(self.steps, self.size, PIT_BINS)
            seen = pit.cumsum(-1)[..., :-1] / self._count[:, None, None]
        nominal = np.arange(1, PIT_BINS) / PIT_BINS
        marginal, overall = condense({**each, "calibration": np.abs(seen - nominal).mean(-1)})
        joint_pit = self._joint_pit.reshape(self.steps, PIT_BINS)
        return Scores(
            self._count.copy(), marginal, {**overall, **joint}, pit.copy(), joint_pit.copy()
        )


def _counted(place: np.ndarray, probability: np.ndarray, length: int) -> np.ndarray:
    """How often each bin of each place is hit, flat."""
    bins = np.minimum((probability * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    return np.bincount((place * PIT_BINS + bins).ravel(), minlength=length)


def _marginal(
    real: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each score's terms ``(N, D)``, and the PIT; of zero variance, their limits.

    Where a forecast is not finite, every score is infinite, nothing is covered and the PIT is 0.
    """
    import scoringrules
    from scipy.special import ndtr

    error, sd = errors(real, mean, var)
    lost, certain = np.isinf(error), sd == 0
    some = np.where(certain, 1.0, sd)
    crps = scoringrules.crps_normal(real, np.where(lost, real, mean), some, backend="numpy")
    crps = np.where(certain, np.abs(error), crps)
    pit = np.where(certain, 0.5 * (1.0 - np.sign(error)), ndtr(-error / some))
    terms = marginal_terms(error, sd)
    terms["crps"] = np.where(lost, np.inf, crps)
    terms["sharpness"] = 2.0 * QUANTILES[90] * np.where(lost, np.inf, sd)
    return terms, pit


def _joint(
    error: np.ndarray, var: np.ndarray, epsilon: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Terms ``(N,)`` of the joint scores, and the probability inside the ellipsoid.

    Eigenvalues that are lost in the rounding of the largest count as that rounding. Where a
    forecast is not finite every score is infinite and nothing is covered.
    """
    from scipy.special import chdtr, chdtri

    size = error.shape[-1]
    lost = ~(np.isfinite(var).all((-2, -1)) & np.isfinite(error).all(-1))
    values, vectors = np.linalg.eigh(np.where(lost[:, None, None], np.eye(size), var))
    along = np.einsum("nij,ni->nj", vectors, error)
    floored = np.maximum(values, size * epsilon * values[:, -1:])
    terms = np.where(along == 0, 0.0, along**2 / np.maximum(floored, 0.0))
    distance = terms.sum(-1)
    lost |= np.isnan(distance)  # of numbers whose squares overflow
    nll = 0.5 * (distance + np.log(np.maximum(floored, 0.0)).sum(-1) + size * np.log(2 * np.pi))
    # 0 variance and an error: the distance's infinity outweighs the logarithm's.
    nll = np.where(np.isposinf(distance) | lost, np.inf, nll)
    distance = np.where(lost, np.inf, distance)
    energy = energy_score(along, values)
    joint = {"nll": nll, "energy": np.where(lost | np.isnan(energy), np.inf, energy)}
    for level in LEVELS:
        joint[f"mahalanobis{level}"] = (distance <= chdtri(size, 1.0 - level / 100)).astype(
            np.float64
        )
    return joint, chdtr(size, distance)
