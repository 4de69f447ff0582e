"""Scores of beliefs against what really happened, for every horizon and dimension.

A :class:`ScoreKeeper` sees beliefs shard by shard and keeps sums, so that memory is that of one
shard, and one number a trajectory and step.

What P particles know of a Gaussian is its predictive distribution, Student's with P − D degrees of
freedom, whose ellipsoids are Hotelling's. A belief of P particles is scored as that wherever a
probability is: likelihoods, coverages, widths. (At P → ∞ it is the Gaussian. CRPS and energy
score are those of the Gaussian itself.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imagine_cli.errors import require
from imagine_cli.evaluation.energy import energy_score
from imagine_cli.evaluation.intervals import standard_error
from imagine_cli.evaluation.run_scores import RETURN_BIAS, RunScores
from imagine_cli.fitting.split import scales
from imagine_cli.scores import QUANTILES, condense, errors, marginal_terms

LEVELS = tuple(QUANTILES)
PIT_BINS = 20
_COVERAGE = tuple(f"coverage{level}" for level in LEVELS)
MARGINAL = ("rmse", "bias", "nll", "crps", *_COVERAGE, "sharpness", "calibration")
"""Metrics that each dimension has."""
_ELLIPSOIDS = tuple(f"mahalanobis{level}" for level in LEVELS)
JOINT = ("energy", *_ELLIPSOIDS)
"""Metrics that only the observation as a whole has."""

_MEANS = ("square", "error", "nll", "crps", *_COVERAGE, "sharpness")
_POOLED = ("square", "crps", *_COVERAGE, "sharpness")
"""Whose mean over dimensions is a score of the whole."""

Terms = dict[str, np.ndarray]


def require_scores() -> None:
    """MissingExtraError where scoringrules or scipy is not installed."""
    require("evaluate", "scipy", "scoringrules")


class ScoreKeeper:
    """Scores beliefs against ``observations`` ``(B, T+1, D)`` where ``lengths`` ``(B,)`` reach.

    ``particles`` is how many of them the beliefs are fitted to; None where they are exact.
    ``rewards`` ``(B, T)`` are the real ones, where :meth:`add_rewards` is to be called.
    """

    def __init__(
        self,
        observations: np.ndarray,
        lengths: np.ndarray,
        particles: int | None = None,
        rewards: np.ndarray | None = None,
    ) -> None:
        require_scores()
        self.observations, self.lengths, self.particles = observations, lengths, particles
        self.steps, self.size = observations.shape[1] - 1, observations.shape[2]
        steps, size = self.steps, self.size
        self._scale = scales(observations[np.isfinite(observations).all(-1)])
        self._count = np.zeros(steps, dtype=np.int64)
        # Of each term the sum and the sum of squares.
        self._marginal = {name: np.zeros((2, steps, size)) for name in _MEANS}
        self._joint = {name: np.zeros((2, steps)) for name in ("nll", *JOINT, *_POOLED)}
        self._scaled_crps = np.full((len(observations), steps), np.nan)
        self._rewards = rewards
        self._imagined = np.zeros((len(observations), steps))
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
            variances = np.diagonal(var, axis1=-2, axis2=-1)
            marginal, pit = _marginal(real, mean, variances, self.particles)
            joint, inside = _joint(real - mean, var, epsilon, self.particles)
            joint |= {name: marginal[name].mean(-1) for name in _POOLED}
            if inside is None:
                joint["nll"] = marginal["nll"].sum(-1)
        self._count[horizons] += there.sum(0)
        self._scaled_crps[rows, horizons][there] = (marginal["crps"] / self._scale).mean(-1)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs
            for sums, terms in ((self._marginal, marginal), (self._joint, joint)):
                for name, values in terms.items():
                    each = np.zeros((b, t, *values.shape[1:]))
                    each[there] = values
                    sums[name][:, horizons] += each.sum(0), np.square(each).sum(0)
        horizon = first_step + np.broadcast_to(np.arange(t), (b, t))[there]
        place = horizon[:, None] * self.size + np.arange(self.size)
        self._pit += _counted(place, pit, len(self._pit))
        if inside is not None:
            self._joint_pit += _counted(horizon, inside, len(self._joint_pit))

    def add_rewards(self, first_trajectory: int, first_step: int, rewards: np.ndarray) -> None:
        """Imagined ones, ``(b, t)``, of the steps from ``first_step`` on."""
        b, t = rewards.shape
        rows, steps = slice(first_trajectory, first_trajectory + b), np.arange(t) + first_step
        there = self.lengths[rows, None] > steps
        self._imagined[rows, steps] = np.where(there, rewards, 0.0)

    def scores(self) -> RunScores:
        """What has been seen so far, condensed."""
        pit = self._pit.reshape(self.steps, self.size, PIT_BINS)
        joint_pit = self._joint_pit.reshape(self.steps, PIT_BINS)
        count = self._count[:, None]
        nominal = np.arange(1, PIT_BINS) / PIT_BINS
        with np.errstate(divide="ignore", invalid="ignore"):
            each = {name: sums[0] / count for name, sums in self._marginal.items()}
            seen = pit.cumsum(-1)[..., :-1] / count[..., None]
            joint = {name: sums[0] / self._count for name, sums in self._joint.items()}
            marginal, overall = condense({**each, "calibration": np.abs(seen - nominal).mean(-1)})
            # No share of few is certain: two more on each side (Agresti & Coull 1998).
            seen = (seen * count[..., None] + 2.0) / (count[..., None] + 4.0)
            share = np.sqrt(seen * (1.0 - seen) / count[..., None]).mean(-1)
            error = {name: standard_error(sums, count) for name, sums in self._marginal.items()}
            joint_error = {
                name: standard_error(sums, self._count) for name, sums in self._joint.items()
            }
            error |= {"bias": error.pop("error"), "calibration": share}
            joint_error |= {"bias": error["bias"].mean(-1), "calibration": share.mean(-1)}
            for scores, found in ((marginal, error), (overall, joint_error)):
                found["rmse"] = _of_the_root(scores["rmse"], found.pop("square"))
        overall |= {name: joint[name] for name in ("nll", *JOINT)}
        returns = None
        if self._rewards is not None:
            both = np.stack([self._imagined, np.nan_to_num(self._rewards)]).cumsum(-1)
            apart, many, returns = both[0] - both[1], len(both[0]), both[..., -1]
            overall[RETURN_BIAS] = apart.mean(0)
            joint_error[RETURN_BIAS] = standard_error(
                np.stack([apart.sum(0), np.square(apart).sum(0)]), np.full(self.steps, many)
            )
        return RunScores(
            self._count.copy(), marginal, overall, pit.copy(), joint_pit.copy(), error,
            joint_error, self._scaled_crps.copy(), returns,
        )  # fmt: skip


def _of_the_root(root: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The standard error of a root, to first order, from that of its square."""
    return np.asarray(np.where(root > 0, error / (2.0 * root), 0.0))


def _counted(place: np.ndarray, probability: np.ndarray, length: int) -> np.ndarray:
    """How often each bin of each place is hit, flat."""
    bins = np.minimum((probability * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    return np.bincount((place * PIT_BINS + bins).ravel(), minlength=length)


def _marginal(
    real: np.ndarray, mean: np.ndarray, var: np.ndarray, particles: int | None
) -> tuple[Terms, np.ndarray]:
    """Each score's terms ``(N, D)``, and the PIT; of zero variance, their limits.

    Where a forecast is not finite, every score is infinite, nothing is covered and the PIT is 0.
    """
    import scoringrules
    from scipy.special import ndtr, stdtr, stdtrit

    error, sd = errors(real, mean, var)
    lost, certain = np.isinf(error), sd == 0
    some = np.where(certain, 1.0, sd)
    crps = scoringrules.crps_normal(real, np.where(lost, real, mean), some, backend="numpy")
    terms = marginal_terms(error, sd)
    terms["crps"] = np.where(lost, np.inf, np.where(certain, np.abs(error), crps))
    quantile, below = QUANTILES[90], ndtr(-error / some)
    if particles is not None:
        freedom, sd = particles - 1, sd * np.sqrt(1.0 + 1.0 / particles)
        apart = error / np.where(certain, 1.0, sd)
        nll = _student(apart**2, freedom, 1) + np.log(np.where(certain, 1.0, sd))
        terms["nll"] = np.where(certain | lost, terms["nll"], nll)
        for level in LEVELS:
            inside = np.abs(error) <= stdtrit(freedom, 0.5 + level / 200) * sd
            terms[f"coverage{level}"] = inside.astype(np.float64)
        quantile, below = stdtrit(freedom, 0.95), stdtr(freedom, -apart)
    terms["sharpness"] = 2.0 * quantile * np.where(lost, np.inf, sd)
    return terms, np.where(certain, 0.5 * (1.0 - np.sign(error)), below)


def _joint(
    error: np.ndarray, var: np.ndarray, epsilon: float, particles: int | None
) -> tuple[Terms, np.ndarray | None]:
    """Terms ``(N,)`` of the joint scores, and the probability inside the ellipsoid.

    Eigenvalues that are lost in the rounding of the largest count as that rounding. Where a
    forecast is not finite every score is infinite and nothing is covered. No more particles than
    dimensions have no density: no probability (None), no likelihood, ellipsoids of NaN.
    """
    from scipy.special import chdtr, chdtri, fdtr, fdtri

    size = error.shape[-1]
    lost = ~(np.isfinite(var).all((-2, -1)) & np.isfinite(error).all(-1))
    values, vectors = np.linalg.eigh(np.where(lost[:, None, None], np.eye(size), var))
    along = np.einsum("nij,ni->nj", vectors, error)
    energy = energy_score(along, values)
    joint: Terms = {"energy": np.where(lost | np.isnan(energy), np.inf, energy)}
    freedom: Any = None if particles is None else particles - size
    if freedom is not None and freedom < 1:
        return joint | dict.fromkeys(_ELLIPSOIDS, np.full(len(error), np.nan)), None
    floored = np.maximum(values, size * epsilon * values[:, -1:])
    if particles is not None:
        floored = floored * ((particles + 1) * (particles - 1) / (particles * freedom))
    terms = np.where(along == 0, 0.0, along**2 / np.maximum(floored, 0.0))
    distance = terms.sum(-1)
    lost |= np.isnan(distance)  # of numbers whose squares overflow
    density = 0.5 * (distance + size * np.log(2 * np.pi))
    if freedom is not None:
        density = _student(distance, freedom, size)
    nll = density + 0.5 * np.log(np.maximum(floored, 0.0)).sum(-1)
    # 0 variance and an error: the distance's infinity outweighs the logarithm's.
    joint["nll"] = np.where(np.isposinf(distance) | lost, np.inf, nll)
    distance = np.where(lost, np.inf, distance)
    for level in LEVELS:
        tail = 1.0 - level / 100
        most = chdtri(size, tail) if freedom is None else size * fdtri(size, freedom, 1.0 - tail)
        joint[f"mahalanobis{level}"] = (distance <= most).astype(np.float64)
    if freedom is None:
        return joint, chdtr(size, distance)
    return joint, fdtr(size, freedom, np.minimum(distance / size, np.finfo(np.float64).max))


def _student(distance: np.ndarray, freedom: int, size: int) -> np.ndarray:
    """Minus the logarithm of Student's density, of a unit scale, at a squared distance."""
    from scipy.special import gammaln

    constant = gammaln(freedom / 2) - gammaln((freedom + size) / 2)
    constant += 0.5 * size * np.log(freedom * np.pi)
    return np.asarray(constant + 0.5 * (freedom + size) * np.log1p(distance / freedom))
