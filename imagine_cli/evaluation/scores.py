"""Scores of Gaussian beliefs against what really happened, for every horizon and dimension.

A :class:`ScoreKeeper` sees beliefs shard by shard and keeps sums, so that memory is that of one
shard whatever B is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagine_cli.errors import require
from imagine_cli.evaluation.energy import energy_score

__all__ = ["JOINT", "LEVELS", "MARGINAL", "PIT_BINS", "ScoreKeeper", "Scores", "require_scores"]

LEVELS = (50, 90, 95)
PIT_BINS = 20
_COVERAGE = tuple(f"coverage{level}" for level in LEVELS)
MARGINAL = ("rmse", "bias", "nll", "crps", *_COVERAGE, "sharpness", "calibration")
"""Metrics that each dimension has."""
JOINT = ("energy", *(f"mahalanobis{level}" for level in LEVELS))
"""Metrics that only the observation as a whole has."""

_SUMS = ("square", "error", "nll", "crps", *_COVERAGE, "width")


def require_scores() -> None:
    """MissingExtraError where scoringrules or scipy is not installed."""
    require("evaluate", "scipy", "scoringrules")


@dataclass(frozen=True)
class Scores:
    """Scores at the horizons 1 to T; index 0 is horizon 1. NaN where no trajectory gets there.

    Attributes:
        count: ``(T,)``, how many real trajectories reach each horizon.
        marginal: of each dimension, ``(T, D)``: ``rmse``; ``bias`` (mean of imagined minus real);
            ``nll`` (negative log-likelihood, nats) and ``crps`` of the marginal Gaussian;
            ``coverage50``, ``90``, ``95``: the part of real values inside the central interval;
            ``sharpness``, the mean width of the 90 % interval; ``calibration``, the mean absolute
            difference between nominal and observed cumulative probability over 5 %, 10 %, ... 95 %.
        joint: of the observation as a whole, ``(T,)``: ``rmse`` (root of the mean of the
            dimensions' squares), ``bias`` (mean of their absolute values), ``crps``,
            ``coverage50`` ..., ``sharpness``, ``calibration`` (means over the dimensions), ``nll``
            of the joint Gaussian, ``energy`` (energy score) and ``mahalanobis50``, ``90``, ``95``:
            the part of real observations inside the ellipsoid of that probability.
        pit: ``(T, D, 20)`` counts of the probability integral transform in equal bins.
        joint_pit: ``(T, 20)``, those of the probability of the ellipsoid through what was real:
            uniform where the joint Gaussian is right, like ``pit`` where the marginal ones are.
    """

    count: np.ndarray
    marginal: dict[str, np.ndarray]
    joint: dict[str, np.ndarray]
    pit: np.ndarray
    joint_pit: np.ndarray

    def value(self, metric: str, horizon: int, dimension: int | None = None) -> float:
        """One number. KeyError for a metric that there isn't."""
        if dimension is None:
            return float(self.joint[metric][horizon - 1])
        return float(self.marginal[metric][horizon - 1, dimension])

    def scaled_crps(self, scale: np.ndarray) -> np.ndarray:
        """``(T,)``: the mean over dimensions of CRPS / ``scale`` ``(D,)``; constant ones count as
        they are."""
        return np.asarray((self.marginal["crps"] / np.where(scale > 0, scale, 1.0)).mean(-1))

    def mean_scaled_crps(self, scale: np.ndarray) -> float:
        """The mean of :meth:`scaled_crps` over the horizons that a trajectory reaches."""
        return float(self.scaled_crps(scale)[self.count > 0].mean())


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
        marginal = {
            "rmse": np.sqrt(each["square"]),
            "bias": each["error"],
            "nll": each["nll"],
            "crps": each["crps"],
            **{name: each[name] for name in _COVERAGE},
            "sharpness": each["width"],
            "calibration": np.abs(seen - nominal).mean(-1),
        }
        means = ("crps", *_COVERAGE, "sharpness", "calibration")
        overall = {
            "rmse": np.sqrt(each["square"].mean(-1)),
            "bias": np.abs(each["error"]).mean(-1),
            **{name: marginal[name].mean(-1) for name in means},
            **joint,
        }
        joint_pit = self._joint_pit.reshape(self.steps, PIT_BINS)
        return Scores(self._count.copy(), marginal, overall, pit.copy(), joint_pit.copy())


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
    from scipy.special import ndtr, ndtri

    lost = ~(np.isfinite(mean) & np.isfinite(var))
    sd = np.sqrt(np.maximum(np.where(lost, 1.0, var), 0.0))
    error = np.where(lost, np.inf, mean - real)
    certain = sd == 0
    some = np.where(certain, 1.0, sd)
    crps = scoringrules.crps_normal(real, np.where(lost, real, mean), some, backend="numpy")
    # Not the library's log score: it is the logarithm of a density, infinite 39 deviations out.
    nll = 0.5 * (error / some) ** 2 + np.log(some) + 0.5 * np.log(2 * np.pi)
    pit = ndtr(-error / some)
    if certain.any():
        crps = np.where(certain, np.abs(error), crps)
        nll = np.where(certain, np.where(error == 0, -np.inf, np.inf), nll)
        pit = np.where(certain, 0.5 * (1.0 - np.sign(error)), pit)
    terms = {"square": error**2, "error": error, "nll": nll, "crps": np.where(lost, np.inf, crps)}
    for level in LEVELS:
        half = float(ndtri(0.5 + level / 200))
        terms[f"coverage{level}"] = (np.abs(error) <= half * sd).astype(np.float64)
    terms["width"] = 2.0 * float(ndtri(0.95)) * np.where(lost, np.inf, sd)
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
