"""Fitting the Gaussian-process world model: points, hyperparameters, calibration.

The points are those of the training transitions that lie farthest from each other. As many
uniform draws crowd where the policy lingers and leave the rest to extrapolation.

The variances are calibrated afterwards (:mod:`imagine_cli.fitting.calibration`): each dimension's
signal and noise variance are multiplied by one factor. Such a factor leaves every predicted mean
and the conditioning as they are, and multiplies every predicted variance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from imagine_cli.fitting.calibration import calibration_summary, variance_factors
from imagine_cli.fitting.hyperparameters import (
    Hyperparameters,
    fit_hyperparameters,
    require_fit_extra,
)
from imagine_cli.fitting.kinds import Fit, Option
from imagine_cli.fitting.scores import marginals
from imagine_cli.fitting.split import Split, farthest_points
from imagine_cli.progress import Progress
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.threads import one_thread
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel

__all__ = ["MODELS_REWARD", "OPTIONS", "fit", "require"]

OPTIONS = {"points": Option(300, 2), "restarts": Option(3)}
MODELS_REWARD = False

require = require_fit_extra


@one_thread()
def fit(
    data: Split, *, points: int, restarts: int, seed: int, progress: Progress, reward: bool = False
) -> Fit:
    """One GP for each observation dimension, on up to ``points`` training transitions.

    Args:
        points: n; fewer are taken where there are no more distinct transitions.
        restarts: optimisations for each dimension, from different starts; the best one stays.
        seed: of the starts.
        progress: told of each dimension.
        reward: False; there is no reward in this kind.
    """
    chosen = data.training[farthest_points(data.training.inputs, points)]
    inputs, targets = chosen.inputs, chosen.differences
    size = targets.shape[1]
    progress.stage("fitting dimensions", size)
    found = []
    for k in range(size):
        sequence = seed_sequence(seed, Stream.FIT_GP, k)
        found.append(fit_hyperparameters(inputs, targets[:, k], starts=restarts, seed=sequence))
        progress.advance()

    def model(given: list[Hyperparameters]) -> GaussianProcessWorldModel:
        return GaussianProcessWorldModel.from_hyperparameters(
            inputs=inputs,
            targets=targets,
            lengthscales=np.stack([hyper.lengthscales for hyper in given]),
            signal_variances=np.array([hyper.signal_variance for hyper in given]),
            noise_variances=np.array([hyper.noise_variance for hyper in given]),
            process_noise=True,
        )

    before = model(found)
    factors = variance_factors(
        *marginals(before, data.calibration), data.calibration.next_observations
    )
    calibrated = [
        replace(
            hyper,
            signal_variance=c * hyper.signal_variance,
            noise_variance=c * hyper.noise_variance,
        )
        for c, hyper in zip(factors, found, strict=True)
    ]
    after = model(calibrated)
    summary = {
        "points": len(chosen),
        "training_transitions": len(data.training),
        "log_marginal_likelihoods": [hyper.log_marginal_likelihood for hyper in found],
        "hyperparameters": _summary(calibrated),
        "calibration": calibration_summary(before, after, factors, data.calibration),
    }
    return Fit(after, summary)


def _summary(found: list[Hyperparameters]) -> dict[str, Any]:
    return {
        "lengthscales": [hyper.lengthscales.tolist() for hyper in found],
        "signal_sd": [float(np.sqrt(hyper.signal_variance)) for hyper in found],
        "noise_sd": [float(np.sqrt(hyper.noise_variance)) for hyper in found],
    }
