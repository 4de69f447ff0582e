"""Fitting the linear-Gaussian world model: ridge regression, and the covariance of what is left.

How much the coefficients are shrunk is what predicts the calibration transitions best from the
training ones; then both are fitted to.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.fitting.kinds import Fit, Option
from imagine_cli.fitting.split import Split, scales
from imagine_cli.progress import Progress
from imagine_cli.threads import one_thread
from imagine_cli.world_models.linear_gaussian import LinearGaussianWorldModel

OPTIONS: dict[str, Option] = {}
MODELS_REWARD = True
LIBRARIES = ()

# Of a dimension that is always zero: its inverse is still a number.
_LEAST_VARIANCE = 1e-300

# Squared standard deviations of an input that a ridge is worth; none is one, too.
_RIDGES = np.concatenate([[0.0], 10.0 ** np.arange(-8.0, 1.1, 0.5)])
# By how much a system that is a real one may grow, in so many steps.
_GROWTH, _AHEAD = 1e3, 20
# What part of the mean squares is no reason for a larger ridge.
_NEARLY = 0.01
# Directions of less than this part of the widest one's spread have no coefficient.
_NARROWEST = 1e-10


@one_thread()
def fit(data: Split, *, reward: bool, seed: int, progress: Progress) -> Fit:
    """Ridge regression of the difference, and of the reward, on observation and action.

    No variance is less than that of rounding the numbers themselves.
    """
    progress.stage("fitting", 1)
    both = (data.training, data.calibration)
    inputs = np.concatenate([some.inputs for some in both])
    targets = np.concatenate([some.targets(reward) for some in both])
    weights, offset, covariance, rank, ridge = regress(inputs, targets, len(data.training))
    largest = np.concatenate([np.abs(some.next_observations) for some in both]).max(axis=0)
    if reward:
        largest = np.append(largest, np.abs(targets[:, -1]).max())
    # What is left may be nothing at all, and no number is more certain than its own rounding.
    least = np.maximum(np.square(np.finfo(np.float64).eps * largest), _LEAST_VARIANCE)
    np.fill_diagonal(covariance, np.maximum(covariance.diagonal(), least))
    size = data.training.observations.shape[1]
    given: dict[str, Any] = {}
    if reward:
        given = {"reward_weights": weights[size], "reward_offset": offset[size]}
        given["reward_variance"] = covariance[size, size]
    transition = np.eye(size) + weights[:size, :size]
    parts = (transition, weights[:size, size:], offset[:size], covariance[:size, :size])
    model = LinearGaussianWorldModel.from_parameters(*parts, **given)
    progress.advance()
    growth = float(np.abs(np.linalg.eigvals(transition)).max()) ** _AHEAD
    if growth > _GROWTH:
        warnings.warn(
            f"the linear model grows {growth:.1e}-fold in {_AHEAD} steps (an eigenvalue of "
            f"{growth ** (1 / _AHEAD):.3g}); imagine fewer steps, or fit to more transitions",
            stacklevel=2,
        )
    summary = {"training_transitions": len(inputs), "rank": rank, "ridge": ridge}
    return Fit(model, summary)


class Regression(NamedTuple):
    """Weights ``(K, E)``, offset ``(K,)``, residual covariance ``(K, K)``, rank, and the ridge."""

    weights: np.ndarray
    offset: np.ndarray
    covariance: np.ndarray
    rank: int
    ridge: float


def regress(inputs: np.ndarray, targets: np.ndarray, first: int) -> Regression:
    """Ridge regression of ``targets`` ``(n, K)`` on ``inputs`` ``(n, E)``, in standard units.

    The ridge is the least one with which the ``first`` rows predict the others nearly as well as
    with any. Where columns depend on each other, as one-hot actions do with the constant, the
    smallest coefficients are taken. The covariance is that of the residuals over the degrees of
    freedom that they have left.
    """
    ridge = _ridge(inputs, targets, first) if first < len(inputs) else 0.0
    every = _Decomposition(inputs, targets)
    residuals = targets - every.predict(inputs, ridge)
    freedom = max(len(inputs) - 1 - float(every.shrinkage(ridge).sum()), 1.0)
    weights = (every.coefficients(ridge) / every.unit[:, None]).T
    offset = every.middle - weights @ every.centre
    rank = len(every.spread) + 1
    return Regression(weights, offset, residuals.T @ residuals / freedom, rank, ridge)


def _ridge(inputs: np.ndarray, targets: np.ndarray, first: int) -> float:
    some, rounding = _Decomposition(inputs[:first], targets[:first]), np.finfo(np.float64).eps
    least = np.square(rounding * np.abs(targets).max(0)) + _LEAST_VARIANCE
    missed = [np.square(targets[first:] - some.predict(inputs[first:], r)) for r in _RIDGES]
    worse = np.log(np.mean(missed, axis=1) + least).mean(-1)  # of each dimension alike
    return float(_RIDGES[np.argmax(worse <= worse.min() + _NEARLY)])


class _Decomposition:
    """Inputs in standard units by their singular values, and the targets along these."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self.centre, self.unit, self.middle = inputs.mean(0), scales(inputs), targets.mean(0)
        left, spread, right = np.linalg.svd((inputs - self.centre) / self.unit, full_matrices=False)
        kept = spread > _NARROWEST * max(spread[0], 1.0)
        self.spread, self._directions, self._count = spread[kept], right[kept], len(inputs)
        self._along = left[:, kept].T @ (targets - self.middle)

    def shrinkage(self, ridge: float) -> np.ndarray:
        """``(rank,)``: what part of each coefficient the ridge leaves."""
        square = np.square(self.spread)
        return np.asarray(square / (square + self._count * ridge))

    def coefficients(self, ridge: float) -> np.ndarray:
        """``(E, K)``, of inputs in standard units."""
        along = (self.shrinkage(ridge) / self.spread)[:, None] * self._along
        return np.asarray(self._directions.T @ along)

    def predict(self, inputs: np.ndarray, ridge: float) -> np.ndarray:
        """``(n, K)``."""
        found = (inputs - self.centre) / self.unit @ self.coefficients(ridge)
        return np.asarray(self.middle + found)
