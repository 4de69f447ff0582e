"""Fitting the sparse Gaussian-process world model: inducing points, hyperparameters, calibration.

The optimisation starts from inducing points at transitions that lie far from each other and moves
them. The posterior then takes in all training transitions, and the variances are calibrated
(:mod:`imagine_cli.fitting.calibration`).
"""

from __future__ import annotations

import numpy as np

from imagine_cli.fitting.calibration import calibrated
from imagine_cli.fitting.inducing import ITERATIONS, fit_inducing_points
from imagine_cli.fitting.kinds import Fit, Option
from imagine_cli.fitting.split import Split, farthest_points
from imagine_cli.progress import Progress
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.threads import one_thread
from imagine_cli.world_models.gp.sparse import SparseGPWorldModel

OPTIONS = {"points": Option(100, 2)}
MODELS_REWARD = False
LIBRARIES = ("gpytorch", "botorch")


@one_thread()
def fit(data: Split, *, points: int, seed: int, progress: Progress, reward: bool = False) -> Fit:
    """Sparse GPs with up to ``points`` inducing points, on all training transitions.

    Args:
        points: m; fewer are taken where there are no more distinct transitions.
        seed: of the transitions that the optimisation sees, where there are many.
        progress: told of each iteration.
        reward: False; there is no reward in this kind.
    """
    inputs, targets = data.training.inputs, data.training.differences
    progress.stage("moving inducing points", ITERATIONS)
    found = fit_inducing_points(
        inputs,
        targets,
        inputs[farthest_points(inputs, points)],
        seed=seed_sequence(seed, Stream.FIT_SPARSE_GP),
        on_iteration=lambda bound: progress.advance(note=f"bound {bound:.3f}"),
    )

    def model(factors: np.ndarray) -> SparseGPWorldModel:
        return SparseGPWorldModel.from_hyperparameters(
            found.inducing_points, inputs, targets, found.lengthscales,
            factors * found.signal_variances, factors * found.noise_variances,
        )  # fmt: skip

    fitted, factors, calibration = calibrated(model, data.calibration)
    summary = {
        "points": len(found.inducing_points),
        "training_transitions": len(data.training),
        "log_likelihood_bounds": found.bounds,
        "hyperparameters": {
            "lengthscales": found.lengthscales.tolist(),
            "signal_sd": np.sqrt(factors * found.signal_variances).tolist(),
            "noise_sd": np.sqrt(factors * found.noise_variances).tolist(),
        },
        "calibration": calibration,
    }
    return Fit(fitted, summary)
