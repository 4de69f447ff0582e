"""The sums over pairs of training points, for the moments themselves.

As :mod:`imagine_cli.propagation.pair_sum`, some rows of a pair of outputs after the other. Work is
cut into items that no number of threads changes, so that neither does any bit.
"""

from __future__ import annotations

import numpy as np

from imagine_cli.propagation.compiled.exponentials import expm1
from imagine_cli.propagation.compiled.kernel import exact, summing
from imagine_cli.propagation.compiled.layout import Array, Layout, Terms
from imagine_cli.propagation.compiled.sums import leading_sum

__all__ = ["ROWS", "STEP", "carry", "exponents", "pair_sums", "rooted"]

# Rows of an item: their weights stay in the second-level cache from one belief to the next.
ROWS = 32
# So many rows go together, and what is symmetric is computed from the squares of so many rows and
# columns on its diagonal on. n is a multiple of it.
STEP = 8


@exact
def pair_sums(first: int, last: int, c: Layout, t: Terms, sums: Array) -> None:
    """``Σ_ij a_i b_j w_ij (exp(d_ij) - 1)`` of items ``first`` to ``last``.

    An item is up to 32 rows of one pair of outputs, for all beliefs; ``sums`` is
    ``(B, P, blocks)``. Of the pairs (a, a), which are symmetric, half is computed.
    """
    outputs, n = c.beta.shape
    pairs = len(c.left_weight)
    batch, _, blocks = sums.shape
    values, carried = np.empty((STEP, n)), np.zeros((t.nu.shape[1], STEP))
    for item in range(first, last):
        pair, block = item // blocks, item % blocks
        weights = c.variance_weights[min(pair, outputs - 1)]
        for belief in range(batch):
            a = t.values[belief, c.left_weight[pair]]
            b = t.values[belief, c.right_weight[pair]]
            nu, matrix = t.nu[belief], t.forms[belief, outputs + 2 * pairs + pair]
            of_i = t.values[belief, 2 * outputs + pair]
            of_j = t.values[belief, 2 * outputs + pairs + pair]
            total = 0.0
            for i in range(block * ROWS, min(n, (block + 1) * ROWS), STEP):
                carry(nu, matrix, i, carried)
                if pair < outputs:
                    exponents(nu, carried, of_i, i, of_j, i, values)
                    total += _weighted_sum(a, b, weights, i, values, i, i + STEP)
                    total += 2.0 * _weighted_sum(a, b, weights, i, values, i + STEP, n)
                else:
                    exponents(nu, carried, of_i, i, of_j, 0, values)
                    total += _sum(a, b, i, values)
            sums[belief, pair, block] = total


@summing
def _weighted_sum(
    a: Array, b: Array, weights: Array, i: int, values: Array, column: int, end: int
) -> float:
    """``Σ a_i b_j w_ij values_ij`` of rows from i on, and columns from ``column`` to ``end``."""
    right = b[column:end]
    total = 0.0
    for row in range(STEP):
        weight, value = weights[i + row, column:end], values[row, column:end]
        entry = 0.0
        for j in range(len(right)):
            entry += right[j] * weight[j] * value[j]
        total += a[i + row] * entry
    return total


@summing
def _sum(a: Array, b: Array, i: int, values: Array) -> float:
    """``Σ a_i b_j values_ij`` of rows from i on."""
    total = 0.0
    for row in range(STEP):
        value = values[row]
        entry = 0.0
        for j in range(len(b)):
            entry += b[j] * value[j]
        total += a[i + row] * entry
    return total


@exact
def carry(nu: Array, matrix: Array, i: int, carried: Array) -> None:
    """``Λ_b⁻¹ G_ab Λ_a⁻¹ ν_i`` of rows from i on, into the columns of ``carried``."""
    for k in range(len(matrix)):
        out = carried[k]
        out[:] = 0.0
        for m in range(len(matrix)):
            factor, row = matrix[k, m], nu[m, i : i + STEP]
            for j in range(STEP):
                out[j] += factor * row[j]


@exact
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
                target[j] += (c_1 * one[j] + c_2 * two[j]) + (c_3 * three[j] + c_4 * four[j])
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
                d = (c_1 * one[j] + c_2 * two[j]) + (c_3 * three[j] + c_4 * four[j])
                target[j] = expm1((known[j] + constant) + d)
        else:
            for j in range(len(target)):
                d = (c_1 * one[j] + c_2 * two[j]) + (c_3 * three[j] + c_4 * four[j])
                target[j] = expm1((known[j] + constant) + (target[j] + d))


@exact
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
                out[i] = leading_sum(root, i, q, i + 1 if c.triangular else n)
