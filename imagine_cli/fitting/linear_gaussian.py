"""Fitting the linear-Gaussian world model: least squares, and the covariance of what is left.

Nothing has to be set aside for so few parameters, so that both the training and the calibration
transitions are fitted to.
"""

from __future__ import annotations

from typing import Any

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


@one_thread()
def fit(data: Split, *, reward: bool, seed: int, progress: Progress) -> Fit:
    """Least squares of the difference, and of the reward, on observation and action.

    Where columns depend on each other, as one-hot actions do with the constant, the smallest
    coefficients are taken. The noise covariance is that of the residuals, unbiased, and
    no variance is less than that of rounding the numbers themselves.
    """
    progress.stage("fitting", 1)
    both = (data.training, data.calibration)
    inputs = np.concatenate([some.inputs for some in both])
    targets = np.concatenate([some.targets(reward) for some in both])
    weights, offset, covariance, rank = _least_squares(inputs, targets)
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
    summary = {"training_transitions": len(inputs), "rank": rank}
    return Fit(model, summary)


def _least_squares(
    inputs: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Weights ``(K, E)``, offset ``(K,)``, residual covariance ``(K, K)`` and rank."""
    centre, unit = inputs.mean(axis=0), scales(inputs)
    middle, size = targets.mean(axis=0), scales(targets)
    standard = (inputs - centre) / unit
    found, _, rank, _ = np.linalg.lstsq(standard, (targets - middle) / size, rcond=1e-10)
    residuals = (targets - middle) - standard @ found * size
    freedom = max(len(inputs) - int(rank) - 1, 1)
    weights = (found / unit[:, None] * size).T
    return weights, middle - weights @ centre, residuals.T @ residuals / freedom, int(rank) + 1
