"""A GP's posterior at points in numpy, by the textbook: Rasmussen & Williams 2006, Eq. 2.25."""

from __future__ import annotations

import numpy as np

from imagine_cli.world_models import GaussianProcessWorldModel

__all__ = ["posterior"]


def posterior(gp: GaussianProcessWorldModel, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the next observation and variance of the difference's function, ``(N, D)`` each."""
    inputs, targets = gp.inputs.numpy(), gp.targets.numpy()
    means, variances = [], []
    for k in range(targets.shape[1]):
        ell, signal = gp.lengthscales[k].numpy(), float(gp.signal_variances[k])

        def kernel(a: np.ndarray, b: np.ndarray, ell: np.ndarray = ell) -> np.ndarray:
            return np.exp(-0.5 * np.square((a[:, None] - b[None]) / ell).sum(-1))

        gram = signal * kernel(inputs, inputs)
        gram += (float(gp.noise_variances[k]) + gp.jitter) * np.eye(len(inputs))
        cross = signal * kernel(at, inputs)
        means.append(at[:, k] + cross @ np.linalg.solve(gram, targets[:, k]))
        variances.append(signal - (cross * np.linalg.solve(gram, cross.T).T).sum(1))
    return np.stack(means, axis=1), np.stack(variances, axis=1)
