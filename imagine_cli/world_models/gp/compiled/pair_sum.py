"""The sums over pairs of training points, for the moments themselves.

As :mod:`~imagine_cli.world_models.gp.pair_sum`, some rows of a pair of outputs after the
other. Work is cut into items that no number of threads changes, so that neither does any bit.
"""

from __future__ import annotations

import numpy as np

from imagine_cli.world_models.gp.compiled.exponentials import expm1
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Layout, Terms
from imagine_cli.world_models.gp.compiled.vectors import add_multiple, dot, fma

# Rows of an item: their weights stay in the second-level cache from one belief to the next.
ROWS = 32
# So many rows go together, and what is symmetric is computed from the squares of so many rows and
# columns on its diagonal on. n is a multiple of it.
STEP = 8


@kernel
def pair_sums(first: int, last: int, c: Layout, t: Terms, sums: Array) -> None:
    """``Σ_ij a_i b_j w_ij (exp(d_ij) - 1)`` of items ``first`` to ``last``.

    An item is up to 32 rows of one pair of outputs, for all beliefs; ``sums`` is
    ``(B, P, blocks)``. Of the pairs (a, a), which are symmetric, half is computed.
    """
    outputs, n = c.beta.shape
    pairs = len(c.left_weight)
    batch, _, blocks = sums.shape
    values, carried = np.empty((STEP, n)), np.zeros((t.nu.shape[1], STEP))
    columns, factors = np.empty(n), np.empty(STEP)
    for item in range(first, last):
        pair, block = item // blocks, item % blocks
        weights = c.variance_weights[min(pair, outputs - 1)]
        for belief in range(batch):
            a = t.values[belief, c.left_weight[pair]]
            b = t.values[belief, c.right_weight[pair]]
            nu, matrix = t.nu[belief], t.forms[belief, outputs + 2 * pairs + pair]
            of_i = t.values[belief, 2 * outputs + pair]
            of_j = t.values[belief, 2 * outputs + pairs + pair]
            columns[:] = 0.0
            for i in range(block * ROWS, min(n, (block + 1) * ROWS), STEP):
                carry(nu, matrix, i, carried)
                factors[:] = a[i : i + STEP]
                if pair < outputs:
                    exponents(nu, carried, of_i, i, of_j, i, values)
                    weigh(weights, i, values, i)
                    add_rows(factors, values, columns, i, i + STEP)
                    factors *= 2.0
                    add_rows(factors, values, columns, i + STEP, n)
                else:
                    exponents(nu, carried, of_i, i, of_j, 0, values)
                    add_rows(factors, values, columns, 0, n)
            sums[belief, pair, block] = dot(b, columns)


@kernel
def carry(nu: Array, matrix: Array, i: int, carried: Array) -> None:
    """``Λ_b⁻¹ G_ab Λ_a⁻¹ ν_i`` of rows from i on, into the columns of ``carried``."""
    for k in range(len(matrix)):
        out = carried[k]
        out[:] = 0.0
        for m in range(len(matrix)):
            add_multiple(matrix[k, m], nu[m, i : i + STEP], out)


@kernel
def exponents(
    nu: Array, carried: Array, of_i: Array, i: int, of_j: Array, column: int, values: Array
) -> None:
    """``exp(d_ij) - 1`` of rows from i on, for j from ``column`` on."""
    last = len(nu) - 4
    for k in range(0, last, 4):  # four terms of d at a time
        one, two, three, four = (
            nu[k, column:],
            nu[k + 1, column:],
            nu[k + 2, column:],
            nu[k + 3, column:],
        )
        for row in range(STEP):
            c_1, c_2 = carried[k, row], carried[k + 1, row]
            c_3, c_4 = carried[k + 2, row], carried[k + 3, row]
            target = values[row, column:]
            if k == 0:
                target[:] = 0.0
            for j in range(len(target)):
                d = fma(c_3, three[j], fma(c_4, four[j], target[j]))
                target[j] = fma(c_1, one[j], fma(c_2, two[j], d))
    one, two, three, four = (
        nu[last, column:],
        nu[last + 1, column:],
        nu[last + 2, column:],
        nu[last + 3, column:],
    )
    known = of_j[column:]
    for row in range(STEP):
        constant = of_i[i + row]
        c_1, c_2 = carried[last, row], carried[last + 1, row]
        c_3, c_4 = carried[last + 2, row], carried[last + 3, row]
        target = values[row, column:]
        if last == 0:
            for j in range(len(target)):
                d = fma(c_3, three[j], fma(c_4, four[j], known[j] + constant))
                target[j] = expm1(fma(c_1, one[j], fma(c_2, two[j], d)))
        else:
            for j in range(len(target)):
                d = fma(c_3, three[j], fma(c_4, four[j], target[j] + (known[j] + constant)))
                target[j] = expm1(fma(c_1, one[j], fma(c_2, two[j], d)))


@kernel
def weigh(weights: Array, i: int, values: Array, column: int) -> None:
    """Multiplies rows from i on, from ``column`` on, by their weights."""
    for row in range(STEP):
        weight, value = weights[i + row, column:], values[row, column:]
        for j in range(len(value)):
            value[j] *= weight[j]


@kernel
def add_rows(factors: Array, values: Array, out: Array, column: int, end: int) -> None:
    """Adds ``Σ_row factors_row values_row,j`` to ``out``, of columns up to ``end``."""
    one, two, three, four = (
        values[0, column:end],
        values[1, column:end],
        values[2, column:end],
        values[3, column:end],
    )
    five, six, seven, eight = (
        values[4, column:end],
        values[5, column:end],
        values[6, column:end],
        values[7, column:end],
    )
    f_1, f_2, f_3, f_4 = factors[0], factors[1], factors[2], factors[3]
    f_5, f_6, f_7, f_8 = factors[4], factors[5], factors[6], factors[7]
    target = out[column:end]
    for j in range(len(target)):
        first = fma(f_1, one[j], fma(f_2, two[j], fma(f_3, three[j], f_4 * four[j])))
        last = fma(f_5, five[j], fma(f_6, six[j], fma(f_7, seven[j], f_8 * eight[j])))
        target[j] += first + last


@kernel
def rooted(first: int, last: int, c: Layout, t: Terms) -> None:
    """``R q`` of items ``first`` to ``last``: up to 32 rows of one output, for all beliefs."""
    n = c.beta.shape[1]
    blocks = -(-n // ROWS)
    for item in range(first, last):
        output, block = item // blocks, item % blocks
        root = c.inverse_root[output]
        for belief in range(len(t.nu)):
            q, out = t.values[belief, output], t.rooted[belief, output]
            for i in range(block * ROWS, min(n, (block + 1) * ROWS)):
                end = (i // STEP + 1) * STEP if c.triangular else n
                out[i] = dot(root[i, :end], q[:end])
