"""The derivative of a moment-matching step.

As :mod:`imagine_cli.world_models.gp.moment_gradient`, one belief after the other.
"""

from __future__ import annotations

import numpy as np

from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Gradients, Layout, Terms
from imagine_cli.world_models.gp.compiled.moment_terms import input_output
from imagine_cli.world_models.gp.compiled.pair_sum import STEP, add_rows, carry, exponents, weigh
from imagine_cli.world_models.gp.compiled.vectors import add_multiple, add_product, dot


@kernel
def by_moments(
    first: int,
    last: int,
    c: Layout,
    var: Array,
    by_next_var: Array,
    by_cross: Array,
    t: Terms,
    g: Gradients,
) -> None:
    """From what comes out for beliefs ``first`` to ``last`` to the moments of Δ."""
    outputs, size = len(c.beta), len(c.columns)
    for b in range(first, last):
        for i in range(outputs):
            for j in range(i, outputs):
                both = by_next_var[b, i, j] + by_next_var[b, j, i]
                g.by_sum[b, c.pair_of[i * outputs + j]] = 0.5 * both if i == j else both
        for k in range(size):
            for a in range(outputs):
                entry = by_cross[b, k, a]
                for i in range(outputs):
                    entry += var[b, i, k] * (by_next_var[b, i, a] + by_next_var[b, a, i])
                g.by_cross[b, k, a] = entry
        for a in range(outputs):
            for k in range(size):
                entry = 0.0
                for m in range(size):
                    entry -= 2.0 * g.by_cross[b, m, a] * t.forms[b, a, m, k]
                g.by_moved[b, a, k] = entry


@kernel
def by_pairs(first: int, last: int, c: Layout, rows: int, t: Terms, g: Gradients) -> None:
    """The sums over pairs of items ``first`` to ``last``: ``rows`` rows, for all beliefs."""
    outputs, n = c.beta.shape
    size, pairs = len(c.columns), len(c.left_weight)
    blocks = g.along_columns.shape[2]
    values, carried = np.empty((STEP, n)), np.zeros((t.nu.shape[1], STEP))
    factors, halves = np.empty(STEP), np.empty(STEP)
    times_nu, ones = np.empty((size, n)), np.ones(n)
    for item in range(first, last):
        pair, block = item // blocks, item % blocks
        symmetric = pair < outputs
        weights = c.variance_weights[min(pair, outputs - 1)]
        for belief in range(len(t.nu)):
            a = t.values[belief, c.left_weight[pair]]
            b = t.values[belief, c.right_weight[pair]]
            nu, matrix = t.nu[belief], t.forms[belief, outputs + 2 * pairs + pair]
            of_i = t.values[belief, 2 * outputs + pair]
            of_j = t.values[belief, 2 * outputs + pairs + pair]
            small_row, large_row = g.along_rows[belief, pair, 0], g.along_rows[belief, pair, 1]
            small = g.along_columns[belief, pair, block, 0]
            large = g.along_columns[belief, pair, block, 1]
            small[:] = 0.0
            large[:] = 0.0
            times_nu[:] = 0.0
            for i in range(block * rows, min(n, (block + 1) * rows), STEP):
                column = i if symmetric else 0
                # The squares on the diagonal of what is symmetric are with the rows.
                after = i + STEP if symmetric else 0
                carry(nu, matrix, i, carried)
                exponents(nu, carried, of_i, i, of_j, column, values)
                if symmetric:
                    weigh(weights, i, values, column)
                factors[:] = a[i : i + STEP]
                add_rows(factors, values, small, after, n)
                _row_sums(b, values, small_row, i, column)
                if symmetric:
                    _add_weights(weights, i, values, column)
                    add_rows(factors, values, large, after, n)
                    _row_sums(b, values, large_row, i, column)
                for k in range(size):
                    for row in range(STEP):
                        factors[row] = a[i + row] * nu[k, i + row]
                        halves[row] = 0.5 * factors[row]
                    add_rows(factors, values, times_nu[k], after, n)
                    if symmetric:  # half of a square, which its transpose makes whole
                        add_rows(halves, values, times_nu[k], column, after)
            first, last = block * rows, min(n, (block + 1) * rows)
            if not symmetric:  # exp(d) as 1 + (exp(d) - 1), the ones summed by themselves
                total = dot(ones[first:last], a[first:last])
                for j in range(n):
                    large[j] = small[j] + total
                total = dot(ones, b)
                for i in range(first, last):
                    large_row[i] = small_row[i] + total
                for k in range(size):
                    total = dot(nu[k, first:last], a[first:last])
                    for j in range(n):
                        times_nu[k, j] += total
            by_bilinear = g.by_bilinear[belief, pair, block]
            for m in range(size):
                for j in range(n):
                    times_nu[m, j] *= b[j]
                for k in range(size):
                    by_bilinear[k, m] = dot(nu[k], times_nu[m])


@kernel
def sums_of_pairs(c: Layout, t: Terms, g: Gradients, sums: Array) -> None:
    """``Σ_ij a_i b_j w_ij (exp(d_ij) - 1)``, ``(B, P, 1)``, from what :func:`by_pairs` found."""
    for belief in range(len(t.nu)):
        for pair in range(len(c.left_weight)):
            a = t.values[belief, c.left_weight[pair]]
            total = dot(a, g.along_rows[belief, pair, 0])
            if pair < len(c.beta):
                for block in range(g.along_columns.shape[2]):
                    total += dot(a, g.along_columns[belief, pair, block, 0])
            sums[belief, pair, 0] = total


@kernel
def _add_weights(weights: Array, i: int, values: Array, column: int) -> None:
    for row in range(STEP):
        weight, value = weights[i + row, column:], values[row, column:]
        for j in range(len(value)):
            value[j] += weight[j]


@kernel
def _row_sums(b: Array, values: Array, sums: Array, i: int, column: int) -> None:
    """``Σ_j b_j values_ij`` of rows from i on, for j from ``column`` on."""
    right = b[column:]
    for row in range(STEP):
        sums[i + row] = dot(right, values[row, column:])


@kernel
def by_forms(first: int, last: int, c: Layout, by_next_mean: Array, t: Terms, g: Gradients) -> None:
    """Derivatives ``first`` to ``last`` by all beliefs' R forms, summed over the points."""
    size, n = c.columns.shape
    forms = len(c.offsets)
    by_value, times_nu, ones = np.empty(n), np.empty(n), np.ones(n)
    for item in range(first, last):
        b, form = item // forms, item % forms
        nu = t.nu[b]
        if form < len(c.beta):
            _by_log_q(b, form, c, by_next_mean[b, form], t, g, by_value)
        else:
            _by_form_of_pair(b, form, c, t, g, by_value)
        g.total[b, form] = dot(ones, by_value)
        for k in range(size):
            g.weighted[b, form, k] = dot(nu[k], by_value)
            for j in range(n):
                times_nu[j] = by_value[j] * nu[k, j]
            for m in range(k + 1):
                entry = dot(nu[m], times_nu)
                g.by_form[b, form, k, m] = g.by_form[b, form, m, k] = entry


@kernel
def _by_log_q(
    b: int, a: int, c: Layout, by_delta: float, t: Terms, g: Gradients, out: Array
) -> None:
    """By the logarithms of ``q_a``, ``(n,)``."""
    outputs, n = c.beta.shape
    q, times_beta, nu = t.values[b, a], t.values[b, outputs + a], t.nu[b]
    rooted, matrix = t.rooted[b, a], c.inverse_root_t[a]
    for j in range(n):
        out[j] = by_delta
    for k in range(len(c.columns)):
        add_multiple(g.by_moved[b, a, k], nu[k], out)
    for j in range(n):
        out[j] *= times_beta[j]
    for j in range(n):  # α² - |R q|²
        begin = j // STEP * STEP if c.triangular else 0
        known = dot(matrix[j, begin:], rooted[begin:])
        out[j] -= 2.0 * g.by_sum[b, a] * q[j] * known
    for pair in range(len(c.left_weight)):
        left, right = c.left_weight[pair], c.right_weight[pair]
        scale = g.by_sum[b, pair]
        if pair == a:
            add_product(2.0 * scale, q, g.along_rows[b, pair, 0], out)
            _add_columns(2.0 * scale, q, g.along_columns[b, pair], 0, out)
        elif pair >= outputs and left % outputs == a:
            add_product(scale, t.values[b, left], g.along_rows[b, pair, 0], out)
        elif pair >= outputs and right % outputs == a:
            _add_columns(scale, t.values[b, right], g.along_columns[b, pair], 0, out)


@kernel
def _by_form_of_pair(b: int, form: int, c: Layout, t: Terms, g: Gradients, out: Array) -> None:
    """By the form of i or of j of a pair, ``(n,)``."""
    outputs, pairs = len(c.beta), len(c.left_weight)
    pair = (form - outputs) % pairs
    of_i = form < outputs + pairs
    out[:] = 0.0
    weight = t.values[b, c.left_weight[pair] if of_i else c.right_weight[pair]]
    if of_i or pair < outputs:
        add_product(g.by_sum[b, pair], weight, g.along_rows[b, pair, 1], out)
    if not of_i or pair < outputs:
        _add_columns(g.by_sum[b, pair], weight, g.along_columns[b, pair], 1, out)


@kernel
def _add_columns(scale: float, one: Array, blocks: Array, which: int, out: Array) -> None:
    for block in range(len(blocks)):
        add_product(scale, one, blocks[block, which], out)


@kernel
def by_beliefs(
    first: int,
    last: int,
    c: Layout,
    by_next_mean: Array,
    by_next_var: Array,
    t: Terms,
    g: Gradients,
    by_mean: Array,
    by_var: Array,
) -> None:
    """The derivatives by beliefs ``first`` to ``last``."""
    outputs, size = len(c.beta), len(c.columns)
    pairs, forms, count = len(c.left_weight), len(c.offsets), len(c.half_scales)
    half, gain = np.empty((size, size)), np.empty((size, outputs))
    by_source = np.empty((count + outputs, size, size))
    for b in range(first, last):
        half[:] = 0.0
        by_source[:] = 0.0
        input_output(t, b, gain)
        for k in range(size):
            by_mean[b, k] = by_next_mean[b, k] if k < outputs else 0.0
            for a in range(outputs):
                by_mean[b, k] -= t.delta[b, a] * g.by_moved[b, a, k]
                for m in range(size):
                    g.by_form[b, a, k, m] -= 2.0 * g.by_cross[b, k, a] * t.moved[b, a, m]
        for form in range(forms + pairs):
            pair = form - forms
            matrix = t.forms[b, form]
            for k in range(size):
                for m in range(size):
                    if form < forms:
                        by_entry = g.by_form[b, form, k, m]
                        by_mean[b, k] -= 2.0 * matrix[k, m] * g.weighted[b, form, m]
                    else:
                        by_entry = _by_bilinear(g, b, pair, k, m, pair < outputs)
                        by_mean[b, k] -= matrix[k, m] * g.weighted[b, outputs + pair, m]
                        by_mean[b, m] -= matrix[k, m] * g.weighted[b, outputs + pairs + pair, k]
                    one, other = c.first_source[form], c.second_source[form]
                    by_source[one, k, m] += c.first_factor[form, k, m] * by_entry
                    by_source[other, k, m] += c.second_factor[form, k, m] * by_entry
        for number in range(count):
            by_log_det = 0.0
            for form in range(forms):
                by_log_det += c.log_dets[form, number] * g.total[b, form]
            inner = by_source[number]
            for k in range(size):
                for m in range(size):
                    inner[k, m] *= 2.0
                    if number < outputs:
                        inner[k, m] -= by_source[count + number, k, m]
            add_by_scaled(t.inverse[b, number], inner, by_log_det, c.half_scales[number], half)
        for k in range(size):
            for m in range(size):
                by_var[b, k, m] = half[k, m] + half[m, k]
        for i in range(outputs):
            for j in range(outputs):
                by_var[b, i, j] += 0.5 * (by_next_var[b, i, j] + by_next_var[b, j, i])
                both = by_next_var[b, i, j] + by_next_var[b, j, i]
                for k in range(size):
                    by_var[b, i, k] += both * gain[k, j]


@kernel
def _by_bilinear(g: Gradients, b: int, pair: int, k: int, m: int, symmetric: bool) -> float:
    total = 0.0
    for block in range(g.by_bilinear.shape[2]):
        total += g.by_bilinear[b, pair, block, k, m]
        if symmetric:
            total += g.by_bilinear[b, pair, block, m, k]
    return float(g.by_sum[b, pair] * total)


@kernel
def add_by_scaled(
    inverse: Array, inner: Array, by_log_det: float, half_scales: Array, half: Array
) -> None:
    """Adds what goes through one ``X = Λ^(-1/2) Σ̃ Λ^(-1/2)``: ``s sᵀ ∘ (A inner A + c A)``."""
    size = len(inverse)
    product = np.empty((size, size))
    for k in range(size):
        for m in range(size):
            entry = 0.0
            for i in range(size):
                entry += inner[k, i] * inverse[i, m]
            product[k, m] = entry
    for k in range(size):
        for m in range(size):
            entry = by_log_det * inverse[k, m]
            for i in range(size):
                entry += inverse[k, i] * product[i, m]
            half[k, m] += half_scales[k, m] * entry
