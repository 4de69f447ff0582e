"""The matrices of moment matching, and its forms at the training points.

As :mod:`imagine_cli.world_models.gp.moment_terms`, one belief after the other.
"""

from __future__ import annotations

from math import log1p, sqrt

import numpy as np

from imagine_cli.world_models.gp.compiled.exponentials import exp
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Layout, Terms
from imagine_cli.world_models.gp.compiled.vectors import add_multiple, add_product, dot, short_sum


@kernel
def matrices(first: int, last: int, c: Layout, mean: Array, var: Array, t: Terms) -> None:
    """Of beliefs ``first`` to ``last``: all terms that are E x E, and ν."""
    size, n = c.columns.shape
    outputs, count = len(c.beta), len(c.half_scales)
    scaled, root = np.empty((size, size)), np.zeros((size, size))
    sources = np.empty((count + outputs, size, size))
    for b in range(first, last):
        for number in range(count):
            for k in range(size):
                for m in range(size):
                    scaled[k, m] = c.half_scales[number, k, m] * (var[b, k, m] + var[b, m, k])
            t.log_det[b, number] = invert(scaled, root, t.inverse[b, number])
            if not np.isfinite(t.log_det[b, number]):
                t.failed[b] = True
            _twice_gain(t.inverse[b, number], scaled, sources[number])
        sources[count:] = t.inverse[b, :outputs]
        for form in range(len(c.first_source)):
            one, other = sources[c.first_source[form]], sources[c.second_source[form]]
            for k in range(size):
                for m in range(size):
                    t.forms[b, form, k, m] = (
                        c.first_factor[form, k, m] * one[k, m]
                        + c.second_factor[form, k, m] * other[k, m]
                    )
        for k in range(size):
            middle = mean[b, k]
            for j in range(n):
                t.nu[b, k, j] = c.columns[k, j] - middle


@kernel
def invert(scaled: Array, root: Array, inverse: Array) -> float:
    """``(I + X)⁻¹`` into ``inverse``, by Cholesky; ``log|I + X|``, or NaN where there is none."""
    size = len(scaled)
    log_det = 0.0
    for k in range(size):
        # By what the squared pivot exceeds one: its error is relative to X, as that of
        # everything in d must be.
        pivot = scaled[k, k]
        for m in range(k):
            pivot -= root[k, m] * root[k, m]
        if not -1.0 < pivot < np.inf:
            return np.nan
        log_det += log1p(pivot)
        root[k, k] = sqrt(1.0 + pivot)
        for i in range(k + 1, size):
            entry = scaled[i, k]
            for m in range(k):
                entry -= root[i, m] * root[k, m]
            root[i, k] = entry / root[k, k]
    # The root's own inverse in its place, by columns.
    for k in range(size):
        root[k, k] = 1.0 / root[k, k]
        for i in range(k + 1, size):
            entry = 0.0
            for m in range(k, i):
                entry -= root[i, m] * root[m, k]
            root[i, k] = entry / root[i, i]
    for k in range(size):
        for m in range(k + 1):
            entry = 0.0
            for i in range(k, size):
                entry += root[i, k] * root[i, m]
            inverse[k, m] = inverse[m, k] = entry
    return log_det


@kernel
def _twice_gain(inverse: Array, scaled: Array, gain: Array) -> None:
    """``(I + X)⁻¹ X`` plus its transpose, to which it is equal but for rounding."""
    size = len(scaled)
    for k in range(size):
        for m in range(size):
            entry = 0.0
            for i in range(size):
                entry += inverse[k, i] * scaled[i, m]
            gain[k, m] = entry
    for k in range(size):
        for m in range(k + 1):
            gain[k, m] = gain[m, k] = gain[k, m] + gain[m, k]


@kernel
def forms_at_points(first: int, last: int, c: Layout, t: Terms) -> None:
    """Values ``first`` to ``last`` of all beliefs' R forms, and what the mean is made of."""
    size, n = c.columns.shape
    outputs, forms = len(c.beta), len(c.offsets)
    partial = np.empty(n)
    for item in range(first, last):
        b, form = item // forms, item % forms
        matrix, nu = t.forms[b, form], t.nu[b]
        values = t.values[b, form if form < outputs else outputs + form]
        constant = c.offsets[form] + short_sum(c.log_dets[form], t.log_det[b])
        for j in range(n):
            values[j] = constant
        for k in range(size):
            partial[:] = 0.0
            add_multiple(matrix[k, k], nu[k], partial)
            for m in range(k + 1, size):
                add_multiple(matrix[k, m] + matrix[m, k], nu[m], partial)
            add_product(1.0, partial, nu[k], values)
        if form < outputs:  # log q (Eq. 15)
            times_beta, beta = t.values[b, outputs + form], c.beta[form]
            for j in range(n):
                values[j] = exp(values[j])
                times_beta[j] = beta[j] * values[j]
            t.delta[b, form] = dot(beta, values)
            for k in range(size):
                t.moved[b, form, k] = dot(nu[k], times_beta)


@kernel
def input_output(t: Terms, belief: int, gain: Array) -> None:
    """V ``(E, D)``, with ``cov[x̃, Δ] = Σ̃ V`` (Deisenroth 2010, Eqs. 2.65-2.70), into ``gain``."""
    size, outputs = gain.shape
    for k in range(size):
        for a in range(outputs):
            gain[k, a] = -2.0 * short_sum(t.forms[belief, a, k], t.moved[belief, a])
