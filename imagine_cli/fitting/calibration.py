"""Calibrating a model's variances on transitions of their own, one factor for each dimension.

What a model misses of a deterministic simulator is its own approximation error, which no
likelihood tells from noise, and may misstate by orders of magnitude. So each dimension's variances
are multiplied by one factor c. It is the mean squared residual in units of the predicted variance,
which maximises the likelihood of those transitions; but where a few of them are so far off (a
wall, a clipped velocity) or so many are so near that the 95 % interval would then cover less than
94 % or more than 96 % of them, it is the nearest factor with which it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imagine_cli.fitting.one_step import marginals
from imagine_cli.scores import QUANTILES, score
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models.gp.base import GPWorldModel

# What part of the calibration transitions the 95 % interval may cover.
_COVERED = (0.94, 0.96)


def calibrated(
    model: Callable[[np.ndarray], GPWorldModel], data: Transitions
) -> tuple[GPWorldModel, np.ndarray, dict[str, Any]]:
    """A model whose variances suit ``data``, its factors ``(D,)``, and what the metadata say of it.

    ``model`` makes one of factors ``(D,)`` by which signal and noise variances are multiplied.
    Such factors leave every predicted mean and the conditioning as they are, and multiply every
    predicted variance.
    """
    before = model(np.ones(data.observations.shape[1]))
    factors = variance_factors(*marginals(before, data), data.next_observations)
    after = model(factors)
    summary = {
        "transitions": len(data),
        "variance_factors": factors.tolist(),
        "before": _scored(before, data),
        "after": _scored(after, data),
    }
    return after, factors, summary


def variance_factors(mean: np.ndarray, var: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """c of each dimension, ``(D,)``, for predictions ``(N, D)``; 1 where nothing is left to do."""
    squared = np.square(actual - mean) / var
    fewest, most = np.quantile(squared, _COVERED, axis=0) / QUANTILES[95] ** 2
    factors = np.clip(squared.mean(axis=0), fewest, most)
    return np.where(factors > 0.0, factors, 1.0)


def _scored(model: GPWorldModel, data: Transitions) -> dict[str, Any]:
    scores = score(*marginals(model, data), data.next_observations)
    return {
        "noise_variances": model.noise_variances.tolist(),
        "signal_variances": model.signal_variances.tolist(),
        "nll": scores.marginal["nll"].tolist(),
        "coverage_95": scores.marginal["coverage95"].tolist(),
    }
