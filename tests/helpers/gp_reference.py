"""Moment matching in multiple precision, as the papers print it: slow, naive and independent.

Deisenroth & Rasmussen 2011, Eqs. 7, 10-12, 14-23; Deisenroth 2010, Eqs. 2.65-2.70. Nothing is
rearranged: ``βᵀ Q β - μ μ`` and ``α² - tr((K + σ² I)⁻¹ Q)`` lose digits as Σ̃ goes to zero, and
there are enough of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mpmath import mp, mpf
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.world_models import GaussianProcessWorldModel, SparseGPWorldModel

__all__ = ["Moments", "exact", "worst"]

Array = Any  # numpy arrays of mpf


@dataclass(frozen=True)
class Moments:
    """The exact moments, rounded to float64 at the end.

    Attributes:
        mean, var: of Δ; ``var`` without observation noise.
        gain: V of ``cov[x̃, Δ] = Σ̃ V``, ``(E, D)``.
        next_mean, next_var: of the next state, with noise if the model says so.
        spread: the variance of the posterior mean under the belief, ``(D,)``: ``var`` without
            the posterior variance.
        sums: ``Σ_i |β_i q_i|``, ``(D,)``: what the sum of the mean is made of.
    """

    mean: Tensor
    var: Tensor
    gain: Tensor
    next_mean: Tensor
    next_var: Tensor
    spread: Tensor
    sums: Tensor


def exact(
    model: GaussianProcessWorldModel | SparseGPWorldModel,
    belief: Belief,
    action: ActionBelief,
    digits: int = 50,
    data: tuple[Tensor, Tensor] | None = None,
) -> Moments:
    """One unbatched step of ``model`` in ``digits`` decimal digits.

    A sparse one needs its ``data``, inputs and targets.
    """
    with mp.workdps(digits):
        return _exact(model, belief, action, data)


def _exact(
    model: GaussianProcessWorldModel | SparseGPWorldModel,
    belief: Belief,
    action: ActionBelief,
    data: tuple[Tensor, Tensor] | None,
) -> Moments:
    if isinstance(model, SparseGPWorldModel):
        assert data is not None
        x, (inputs, y) = _mp(model.inducing_points), map(_mp, data)
    else:
        x, y = _mp(model.inputs), _mp(model.targets)
    ell, signal, noise = (
        _mp(model.lengthscales),
        _mp(model.signal_variances),
        _mp(model.noise_variances),
    )
    (n, size), outputs = x.shape, y.shape[1]
    mean, var = _joint(belief, action, size, outputs)
    nu = x - mean  # Eq. 16
    square = [ell[a] ** 2 for a in range(outputs)]  # diagonals of Λ_a

    inverse, beta, q, mu, gain = [], [], [], [], np.empty((size, outputs), dtype=object)
    for a in range(outputs):
        gram = _gram(x, x, square[a], signal[a])
        if isinstance(model, SparseGPWorldModel):  # Titsias 2009, Eq. 6
            gram[np.diag_indices(n)] += mpf(model.jitter) * signal[a]
            cross = _gram(x, inputs, square[a], signal[a])
            sigma = _inverse_of_spd(gram + cross @ cross.T / noise[a])
            inverse.append(_inverse_of_spd(gram) - sigma)
            beta.append(sigma @ (cross @ y[:, a]) / noise[a])
        else:
            gram[np.diag_indices(n)] += noise[a] + mpf(model.jitter)
            inverse.append(_inverse_of_spd(gram))
            beta.append(inverse[a] @ y[:, a])
        precision, det = _inverse(var + np.diag(square[a]))  # (Σ̃ + Λ_a)⁻¹
        scale = signal[a] / mp.sqrt(det / _product(square[a]))  # |Σ̃ Λ⁻¹ + I| = |Σ̃ + Λ| / |Λ|
        q.append(scale * _exp(-(nu @ precision * nu).sum(1) / 2))  # Eq. 15
        mu.append((beta[a] * q[a]).sum())  # Eq. 14
        gain[:, a] = precision @ (nu.T @ (beta[a] * q[a]))  # Eq. 2.70 without Σ̃ in front

    delta_var = np.empty((outputs, outputs), dtype=object)
    spread = np.empty(outputs, dtype=object)
    for a in range(outputs):
        for b in range(a, outputs):
            q_ab = _q_matrix(nu, var, square[a], square[b], signal[a], signal[b])
            value = beta[a] @ q_ab @ beta[b] - mu[a] * mu[b]  # Eqs. 18, 20
            if a == b:
                spread[a] = value
                value = value + signal[a] - (inverse[a] * q_ab).sum()  # Eqs. 17, 23
            delta_var[a, b] = delta_var[b, a] = value

    shared = var[:outputs] @ gain  # cov[x, Δ], Eq. 12
    next_var = var[:outputs, :outputs] + delta_var + shared + shared.T  # Eq. 11
    if model.process_noise:
        next_var = next_var + np.diag(noise)
    return Moments(
        mean=_torch(np.array(mu)),
        var=_torch(delta_var),
        gain=_torch(gain),
        next_mean=_torch(mean[:outputs] + np.array(mu)),  # Eq. 10
        next_var=_torch(next_var),
        spread=_torch(spread),
        sums=_torch(np.array([abs(beta[a] * q[a]).sum() for a in range(outputs)])),
    )


def _q_matrix(
    nu: Array, var: Array, square_a: Array, square_b: Array, signal_a: Any, signal_b: Any
) -> Array:
    """Q of Eq. 22: ``k_a(x_i, μ̃) k_b(x_j, μ̃) |R|^(-1/2) exp(½ zᵀ R⁻¹ Σ̃ z)``."""
    both = 1 / square_a + 1 / square_b
    r_inverse, det = _inverse(var * both + np.diag(_ones(len(both))))
    t = r_inverse @ var
    u, v = nu / square_a, nu / square_b  # z_ij = u_i + v_j
    exponent = (u @ t * u).sum(1)[:, None] / 2 + (v @ t * v).sum(1) / 2 + u @ ((t + t.T) / 2) @ v.T
    exponent -= (nu**2 / square_a).sum(1)[:, None] / 2 + (nu**2 / square_b).sum(1) / 2
    return signal_a * signal_b / mp.sqrt(det) * _exp(exponent)


def _joint(belief: Belief, action: ActionBelief, size: int, outputs: int) -> tuple[Array, Array]:
    mean = np.concatenate([_mp(belief.mean), _mp(action.mean)])
    var = np.full((size, size), mpf(0), dtype=object)
    sigma = _mp(belief.var)
    var[:outputs, :outputs] = sigma
    if action.var is not None:
        var[outputs:, outputs:] = _mp(action.var)
    if action.cross_covariance is not None:
        cross = sigma @ _mp(action.cross_covariance)
        var[:outputs, outputs:], var[outputs:, :outputs] = cross, cross.T
    return mean, var


def _gram(x: Array, other: Array, square: Array, signal: Any) -> Array:
    difference = x[:, None, :] - other[None, :, :]
    return signal * _exp(-(difference**2 / square).sum(-1) / 2)


def _inverse_of_spd(matrix: Array) -> Array:
    """By Cholesky: K = L Lᵀ, K⁻¹ = L⁻ᵀ L⁻¹."""
    n = len(matrix)
    root = np.full((n, n), mpf(0), dtype=object)
    for j in range(n):
        column = matrix[j:, j] - root[j:, :j] @ root[j, :j] if j else matrix[j:, j].copy()
        root[j:, j] = column / mp.sqrt(column[0])
    inverse = np.full((n, n), mpf(0), dtype=object)
    for i in range(n):
        row = -(root[i, :i] @ inverse[:i]) if i else np.full(n, mpf(0), dtype=object)
        row[i] += 1
        inverse[i] = row / root[i, i]
    return inverse.T @ inverse


def _inverse(matrix: Array) -> tuple[Array, Any]:
    """Inverse and determinant of a small matrix, by Gauss-Jordan with pivoting."""
    n = len(matrix)
    work = np.concatenate([matrix, np.diag(_ones(n))], axis=1)
    det = mpf(1)
    for k in range(n):
        pivot = k + max(range(n - k), key=lambda i: abs(work[k + i, k]))
        if pivot != k:
            work[[k, pivot]], det = work[[pivot, k]], -det
        det *= work[k, k]
        work[k] = work[k] / work[k, k]
        for i in range(n):
            if i != k:
                work[i] = work[i] - work[i, k] * work[k]
    return work[:, n:], det


def _ones(n: int) -> Array:
    return np.full(n, mpf(1), dtype=object)


def _product(values: Array) -> Any:
    return np.prod(values)


def _exp(values: Array) -> Array:
    return np.frompyfunc(mp.exp, 1, 1)(values)


def _mp(values: Tensor) -> Array:
    return np.frompyfunc(mpf, 1, 1)(values.detach().double().numpy())


def _torch(values: Array) -> Tensor:
    return torch.tensor(values.astype(float))


def worst(found: Tensor, wanted: Tensor, scale: Tensor) -> float:
    """The largest ``|found - wanted| / scale``; where the scale is zero both must be zero.

    Zero is what is below 1e-30: the reference itself rounds, at 1e-50.
    """
    assert found.shape == wanted.shape
    assert torch.isfinite(found).all()
    error = (found - wanted).abs()
    nothing = (scale.abs() < 1e-30).expand_as(error)
    assert (error[nothing] < 1e-30).all()
    return float((error / scale)[~nothing].amax()) if (~nothing).any() else 0.0
