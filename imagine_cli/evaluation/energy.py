"""The energy score of a Gaussian, exact to rounding: no sampling.

``ES(N(μ, Σ), y) = E‖X − y‖ − ½ E‖X − X'‖`` (Gneiting & Raftery 2007). Both are the mean length of
a Gaussian vector. With ``Q = ‖Z‖²`` and its Laplace transform ``φ(t) = E exp(−tQ)``::

    E √Q = π^(−½) ∫₀^∞ −φ'(t) t^(−½) dt

and ``φ`` has a closed form in the eigenvalues of Z's covariance. What is integrated is the
difference to ``Q = E Q`` (whose integral is known), over ``t = exp s``, where the trapezoid rule
converges exponentially.
"""

from __future__ import annotations

import numpy as np

_STEP = 0.3
_NODES = np.exp(np.arange(-20.0, 34.0, _STEP))
_WEIGHTS = np.sqrt(_NODES) * _STEP / np.sqrt(np.pi)
_ROWS = 4096


def energy_score(along: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """``(N,)``: of y − μ ``(N, D)`` in the eigenvectors' coordinates, and Σ's eigenvalues."""
    return mean_length(along, variances) - 0.5 * mean_length(np.zeros_like(along), 2.0 * variances)


def mean_length(mean: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """``E‖Z‖`` of Z with independent components ``N(mean, variances)``, ``(N, D)``: ``(N,)``."""
    result = np.empty(len(mean))
    for first in range(0, len(mean), _ROWS):
        rows = slice(first, first + _ROWS)
        result[rows] = _mean_length(mean[rows], variances[rows])
    return result


def _mean_length(mean: np.ndarray, variances: np.ndarray) -> np.ndarray:
    square, variances = mean**2, np.maximum(variances, 0.0)
    expected = (square + variances).sum(-1)
    scale = np.where((expected > 0) & np.isfinite(expected), expected, 1.0)
    square, variances = square / scale[:, None], variances / scale[:, None]
    product = np.ones((len(mean), len(_NODES)))
    exponent = np.zeros_like(product)
    slope = np.zeros_like(product)
    with np.errstate(over="ignore"):
        for d in range(mean.shape[1]):
            shrink = 1.0 / (1.0 + 2.0 * variances[:, d, None] * _NODES)
            shrunk = square[:, d, None] * shrink
            product *= shrink
            exponent += shrunk
            slope += (variances[:, d, None] + shrunk) * shrink
    minus_derivative = np.sqrt(product) * np.exp(-exponent * _NODES) * slope
    excess = (minus_derivative - np.exp(-_NODES)) @ _WEIGHTS
    length = np.sqrt(expected) * (1.0 + excess)
    return np.asarray(np.where(np.isfinite(expected) & (expected > 0), length, expected))
