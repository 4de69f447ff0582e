"""A step's covariance with the error that persists, and its derivative, for one belief.

As :meth:`imagine_cli.world_models.model_error.ModelError.carry`, whose symbols these are.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array


class Error(NamedTuple):
    """ρ ``(D,)``, empty for a model without an error; φ; R ``(D, D)``."""

    share: Array
    persistence: float
    correlation: Array


class Carried(NamedTuple):
    """What :func:`carry` leaves for its derivative, of beliefs ``(B, ...)``.

    Attributes:
        slope: A ``(B, D, E)``.
        cross: C̃ ``(B, E, D)``.
        product: A C̃ ``(B, D, D)``.
        left: E ``(B, D, D)``.
        gamma: Γ's diagonal ``(B, D)``.
    """

    slope: Array
    cross: Array
    product: Array
    left: Array
    gamma: Array

    @classmethod
    def empty(cls, batch: int, size: int, joined: int) -> Carried:
        square = (batch, size, size)
        return cls(
            np.empty((batch, size, joined)), np.empty((batch, joined, size)), np.empty(square),
            np.empty(square), np.empty((batch, size)),
        )  # fmt: skip


@kernel
def _times(left: Array, right: Array) -> Array:
    found = np.zeros((left.shape[0], right.shape[1]))
    for i in range(left.shape[0]):
        for k in range(left.shape[1]):
            for j in range(right.shape[1]):
                found[i, j] += left[i, k] * right[k, j]
    return found


@kernel
def carry(
    b: int,
    e: Error,
    gain: Array,
    joint_var: Array,
    policy_cross: Array,
    cross: Array,
    c: Carried,
    next_var: Array,
    next_cross: Array,
) -> None:
    """Of belief b: ``next_var`` ``(D, D)`` from Σ'₀ to Σ', and C' into ``next_cross``.

    Args:
        gain: V ``(E, D)``.
        joint_var: Σ̃ ``(E, E)``.
        policy_cross: ``Σ⁻¹ cov[x, u]`` ``(D, F)``.
        cross: C ``(D, D)``.
    """
    size, joined = len(next_var), len(gain)
    slope, both, gamma, left = c.slope[b], c.cross[b], c.gamma[b], c.left[b]
    for i in range(size):
        for k in range(joined):
            slope[i, k] = gain[k, i] + (1.0 if k == i else 0.0)
        for j in range(size):
            both[i, j] = cross[i, j]
    for f in range(joined - size):
        for j in range(size):
            entry = 0.0
            for k in range(size):
                entry += policy_cross[k, f] * cross[k, j]
            both[size + f, j] = entry
    half = _times(slope, joint_var)
    left[:] = next_var - _times(half, slope.T)
    product = c.product[b]
    product[:] = _times(slope, both)
    for i in range(size):
        gamma[i] = sqrt(e.share[i] * max(left[i, i], 0.0))
    for i in range(size):
        for j in range(size):
            own = 0.0
            if i != j:
                kept = sqrt((1.0 - e.share[i]) * (1.0 - e.share[j])) - 1.0
                own = gamma[i] * e.correlation[i, j] * gamma[j]
                own += 0.5 * kept * (left[i, j] + left[j, i])
            next_var[i, j] += product[i, j] * gamma[j] + product[j, i] * gamma[i] + own
            next_cross[i, j] = e.persistence * (product[i, j] + gamma[i] * e.correlation[i, j])


@kernel
def carry_gradient(
    b: int,
    e: Error,
    joint_var: Array,
    policy_cross: Array,
    cross: Array,
    c: Carried,
    by_next_var: Array,
    by_next_cross: Array,
    by_gain: Array,
    by_joint_var: Array,
    by_policy_cross: Array,
    by_cross: Array,
) -> None:
    """From derivatives by Σ' and C' to those by what :func:`carry` takes.

    Args:
        by_next_var: that by Σ'₀ in the end.
        by_gain, by_joint_var, by_policy_cross, by_cross: zeros, to which they are added.
    """
    size, joined = by_next_var.shape[0], by_gain.shape[0]
    slope, gamma, product = c.slope[b], c.gamma[b], c.product[b]
    by_product, by_left = np.empty((size, size)), np.empty((size, size))
    for i in range(size):
        by_gamma = 0.0
        for j in range(size):
            both = by_next_var[i, j] + by_next_var[j, i]
            by_product[i, j] = e.persistence * by_next_cross[i, j] + both * gamma[j]
            by_gamma += e.persistence * by_next_cross[i, j] * e.correlation[i, j]
            by_gamma += both * product[j, i]
            if i != j:
                by_gamma += both * e.correlation[i, j] * gamma[j]
                kept = sqrt((1.0 - e.share[i]) * (1.0 - e.share[j])) - 1.0
                by_left[i, j] = 0.5 * kept * both
        by_left[i, i] = 0.5 * e.share[i] * by_gamma / gamma[i] if gamma[i] > 0.0 else 0.0
    for i in range(size):
        for j in range(size):
            by_next_var[i, j] += by_left[i, j]
    # E = Σ'₀ - A Σ̃ Aᵀ, of a by_left that is symmetric.
    half = _times(by_left, slope)
    by_slope = -2.0 * _times(half, 0.5 * (joint_var + joint_var.T))
    by_joint_var -= _times(slope.T, half)
    by_slope += _times(by_product, c.cross[b].T)
    by_both = _times(slope.T, by_product)
    for i in range(size):
        for k in range(joined):
            by_gain[k, i] += by_slope[i, k]
        for j in range(size):
            by_cross[i, j] += by_both[i, j]
            for f in range(joined - size):
                by_cross[i, j] += policy_cross[i, f] * by_both[size + f, j]
                by_policy_cross[i, f] += cross[i, j] * by_both[size + f, j]
