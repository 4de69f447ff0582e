"""Fitting the Gaussian-process world model: points, hyperparameters, calibration.

The points are those of the training transitions that lie farthest from each other. As many
uniform draws crowd where the policy lingers and leave the rest to extrapolation.

The variances are calibrated afterwards (:mod:`imagine_cli.fitting.calibration`).
"""

from __future__ import annotations

import numpy as np

from imagine_cli.fitting.calibration import calibrated
from imagine_cli.fitting.hyperparameters import NOISE_FLOOR, fit_hyperparameters
from imagine_cli.fitting.kinds import Fit, Option
from imagine_cli.fitting.split import Split, farthest_points
from imagine_cli.progress import Progress
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.threads import one_thread
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel

OPTIONS = {"points": Option(300, 2), "restarts": Option(3)}
MODELS_REWARD = False
LIBRARIES = ("gpytorch", "botorch")

# So few transitions are fitted too well by a process with next to no noise, which a search for a
# policy then believes: by pilco from 150 steps InvertedPendulum-v5 was held in the first trial in
# 10 seeds of 10 with the floor of 1e-3, and in 7 with 1e-4.
_FEW, _FLOOR_OF_FEW = 1000, 1e-3


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
    floor = NOISE_FLOOR if len(data.training) >= _FEW else _FLOOR_OF_FEW
    progress.stage("fitting dimensions", size)
    found = []
    for k in range(size):
        sequence = seed_sequence(seed, Stream.FIT_GP, k)
        found.append(
            fit_hyperparameters(inputs, targets[:, k], starts=restarts, seed=sequence, floor=floor)
        )
        progress.advance()

    lengthscales = np.stack([hyper.lengthscales for hyper in found])
    signal = np.array([hyper.signal_variance for hyper in found])
    noise = np.array([hyper.noise_variance for hyper in found])

    def model(factors: np.ndarray) -> GaussianProcessWorldModel:
        return GaussianProcessWorldModel.from_hyperparameters(
            inputs=inputs, targets=targets, lengthscales=lengthscales,
            signal_variances=factors * signal, noise_variances=factors * noise, process_noise=True,
        )  # fmt: skip

    fitted, factors, calibration = calibrated(model, data.calibration)
    summary = {
        "points": len(chosen),
        "training_transitions": len(data.training),
        "log_marginal_likelihoods": [hyper.log_marginal_likelihood for hyper in found],
        "hyperparameters": {
            "lengthscales": lengthscales.tolist(),
            "signal_sd": np.sqrt(factors * signal).tolist(),
            "noise_sd": np.sqrt(factors * noise).tolist(),
        },
        "calibration": calibration,
    }
    return Fit(fitted, summary)
