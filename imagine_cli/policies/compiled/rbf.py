"""The moments of radial-basis policies, and their derivative written out.

As :mod:`imagine_cli.policies.rbf`, one belief after the other. With ``A = (I + S)⁻¹`` and
``K = (I + 2 S)⁻¹`` everything that depends on S is a function of them, and::

    dA = -A dS A,   dM = K dS K,   dN = A dS A - K dS K
    d log|I + S| = tr(A dS),   d (½ log|I + S M|) = tr((A - K) dS)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imagine_cli.policies.compiled.squash import squash, squash_gradient
from imagine_cli.world_models.gp.compiled.exponentials import exp, expm1
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array
from imagine_cli.world_models.gp.compiled.moment_gradient import add_by_scaled
from imagine_cli.world_models.gp.compiled.moment_terms import invert


class Policies(NamedTuple):
    """R policies of N basis functions; derivatives by them likewise.

    Attributes:
        centers, weights, lengthscales: ``(R, N, D)``, ``(R, N, F)``, ``(R, D)``.
        max_action: m ``(F,)``, of all; empty for ``u = v``.
    """

    centers: Array
    weights: Array
    lengthscales: Array
    max_action: Array


class Bases(NamedTuple):
    """What the moments of one belief's basis functions are made of.

    Attributes:
        z, a_z, m_z, n_z: z, A z, M z and N z, ``(N, D)``.
        a, k, m: A, K and M, ``(D, D)``.
        q: their means, ``(N,)``.
        growth: ``exp(d) - 1``, ``(N, N)``.
    """

    z: Array
    a_z: Array
    m_z: Array
    n_z: Array
    a: Array
    k: Array
    m: Array
    q: Array
    growth: Array


@kernel
def _product(left: Array, right: Array) -> Array:
    out = np.zeros((len(left), right.shape[1]))
    for i in range(len(left)):
        for k in range(len(right)):
            for j in range(right.shape[1]):
                out[i, j] += left[i, k] * right[k, j]
    return out


@kernel
def _bases(mean: Array, var: Array, centers: Array, scales: Array) -> Bases:
    count, size = centers.shape
    z, s = np.empty((count, size)), np.empty((size, size))
    for d in range(size):
        for i in range(count):
            z[i, d] = (centers[i, d] - mean[d]) / scales[d]
        for e in range(size):
            s[d, e] = 0.5 * (var[d, e] + var[e, d]) / (scales[d] * scales[e])
    a, k, root = np.empty((size, size)), np.empty((size, size)), np.zeros((size, size))
    log_det = invert(s, root, a)
    invert(2.0 * s, root, k)
    m = _product(k, s)
    m = 0.5 * (m + m.T)
    s_m = _product(s, m)
    half_log_det = 0.5 * invert(0.5 * (s_m + s_m.T), root, np.empty((size, size)))
    a_z, m_z = _product(z, a), _product(z, m)
    n_z = _product(_product(m_z, a), s)
    q, own = np.empty(count), np.empty(count)
    growth = np.empty((count, count))
    for i in range(count):
        log_q, own[i] = -0.5 * log_det, 0.0
        for d in range(size):
            log_q -= 0.5 * z[i, d] * a_z[i, d]
            own[i] += n_z[i, d] * z[i, d]
        q[i] = exp(log_q)
        for j in range(i + 1):
            form = half_log_det - 0.5 * (own[i] + own[j])
            for d in range(size):
                form += m_z[i, d] * z[j, d]
            growth[i, j] = growth[j, i] = expm1(form)
    return Bases(z, a_z, m_z, n_z, a, k, m, q, growth)


@kernel
def _sums(b: Bases, weights: Array, scales: Array) -> tuple[Array, Array, Array]:
    """``E[v]`` ``(F,)``, ``cov[v]`` ``(F, F)`` and ``Σ⁻¹ cov[x, v]`` ``(D, F)``."""
    (count, actions), size = weights.shape, len(scales)
    v, var, cross = np.zeros(actions), np.zeros((actions, actions)), np.zeros((size, actions))
    for i in range(count):
        for f in range(actions):
            weighted = b.q[i] * weights[i, f]
            v[f] += weighted
            for d in range(size):
                cross[d, f] += b.a_z[i, d] / scales[d] * weighted
            for g in range(f + 1):
                total = 0.0
                for j in range(count):
                    total += b.growth[i, j] * b.q[j] * weights[j, g]
                var[f, g] += weighted * total
    for f in range(actions):
        for g in range(f):
            var[g, f] = var[f, g]
    return v, var, cross


@kernel
def rbf(
    mean: Array, var: Array, p: Policies, number: int, u: Array, u_var: Array, cross: Array
) -> None:
    """The action of policy ``number`` at a belief, into ``(F,)``, ``(F, F)`` and ``(D, F)``."""
    weights, scales = p.weights[number], p.lengthscales[number]
    v, v_var, v_cross = _sums(_bases(mean, var, p.centers[number], scales), weights, scales)
    slope = np.empty(len(v))
    squash(v, v_var, p.max_action, u, u_var, slope)
    cross[:] = v_cross * slope


@kernel
def rbf_gradient(
    mean: Array,
    var: Array,
    p: Policies,
    number: int,
    by_u: Array,
    by_u_var: Array,
    by_cross: Array,
    by_mean: Array,
    by_var: Array,
    by: Policies,
) -> None:
    """Adds to the derivatives by a belief and by policy ``number`` what its action has in them."""
    weights, scales = p.weights[number], p.lengthscales[number]
    (count, actions), size = weights.shape, len(scales)
    b = _bases(mean, var, p.centers[number], scales)
    v, v_var, v_cross = _sums(b, weights, scales)
    u, slope, other = np.empty(actions), np.empty(actions), np.empty((actions, actions))
    squash(v, v_var, p.max_action, u, other, slope)
    by_v, by_v_var, by_slope = np.empty(actions), np.empty((actions, actions)), np.zeros(actions)
    for d in range(size):
        for f in range(actions):
            by_slope[f] += by_cross[d, f] * v_cross[d, f]
    squash_gradient(v, v_var, p.max_action, by_u, by_u_var, by_slope, by_v, by_v_var)

    by_centers, by_weights = by.centers[number], by.weights[number]
    by_scales = by.lengthscales[number]
    # cov[v] = Σ_ij w_i w_j q_i q_j (exp(d_ij) - 1), with its derivative in ``spread``.
    spread = _product(weights, 0.5 * (by_v_var + by_v_var.T))
    by_cross_v = by_cross * slope
    by_m, by_n, by_a = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    by_log_det = by_growth = 0.0
    moved, by_a_z = np.empty(size), np.empty(size)
    for i in range(count):
        by_log_q, total = 0.0, 0.0
        moved[:] = 0.0
        for j in range(count):
            pair, both = 0.0, b.q[i] * b.q[j]
            for f in range(actions):
                pair += spread[i, f] * weights[j, f]
                by_weights[i, f] += 2.0 * both * b.growth[i, j] * spread[j, f]
            by_log_q += 2.0 * pair * both * b.growth[i, j]
            by_d = pair * both * (b.growth[i, j] + 1.0)
            total += by_d
            for d in range(size):
                moved[d] += by_d * b.z[j, d]
        by_a_z[:] = 0.0
        for f in range(actions):
            by_weights[i, f] += b.q[i] * by_v[f]
            by_log_q += b.q[i] * weights[i, f] * by_v[f]
            for d in range(size):
                entry = by_cross_v[d, f] * b.q[i] / scales[d]
                by_weights[i, f] += entry * b.a_z[i, d]
                by_log_q += entry * weights[i, f] * b.a_z[i, d]
                by_a_z[d] += entry * weights[i, f]
        by_log_det -= 0.5 * by_log_q
        by_growth += total
        for d in range(size):
            by_z = -2.0 * total * b.n_z[i, d] - by_log_q * b.a_z[i, d]
            for e in range(size):
                by_z += 2.0 * b.m[d, e] * moved[e] + b.a[d, e] * by_a_z[e]
                by_m[d, e] += b.z[i, d] * moved[e]
                by_n[d, e] -= total * b.z[i, d] * b.z[i, e]
                by_a[d, e] += (by_a_z[d] - 0.5 * by_log_q * b.z[i, d]) * b.z[i, e]
            by_centers[i, d] += by_z / scales[d]
            by_mean[d] -= by_z / scales[d]
            by_scales[d] -= by_z * b.z[i, d] / scales[d]
    by_own = np.zeros((size, size))
    units = np.empty((size, size))
    for d in range(size):
        for e in range(size):
            units[d, e] = 1.0 / (scales[d] * scales[e])
    inner = by_n - 0.5 * (by_a + by_a.T)
    add_by_scaled(b.a, inner, by_log_det + by_growth, units, by_own)
    add_by_scaled(b.k, 0.5 * (by_m + by_m.T) - by_n, -by_growth, units, by_own)
    for d in range(size):
        for e in range(size):
            both = 0.5 * (by_own[d, e] + by_own[e, d])
            by_var[d, e] += both
            by_scales[d] -= 2.0 * both * var[d, e] / scales[d]
        for f in range(actions):
            by_scales[d] -= by_cross_v[d, f] * v_cross[d, f] / scales[d]
