"""The sums over pairs of training points, for the moments themselves.

As :mod:`imagine_cli.propagation.pair_sum`, one row of a pair of outputs after the other. Work is
cut into items that no number of threads changes, so that neither does any bit.
"""

from __future__ import annotations

import numpy as np

from imagine_cli.propagation.compiled.exponentials import expm1
from imagine_cli.propagation.compiled.kernel import exact
from imagine_cli.propagation.compiled.layout import Array, Layout, Terms
from imagine_cli.propagation.compiled.sums import (
    add_multiple,
    leading_sum,
    product_sum,
    triple_sum,
)

__all__ = ["ROWS", "STEP", "carry", "exponents", "pair_sums", "rooted"]

# Rows of an item: their weights stay in the second-level cache from one belief to the next.
ROWS = 32
# What is symmetric is computed from the diagonal on, in squares of so many rows and columns: a row
# then begins where a cache line does. n is a multiple of it.
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
    values, carried = np.empty(n), np.zeros((t.nu.shape[1], ROWS))
    for item in range(first, last):
        pair, block = item // blocks, item % blocks
        begin, end = block * ROWS, min(n, (block + 1) * ROWS)
        weights = c.variance_weights[min(pair, outputs - 1)]
        for belief in range(batch):
            a = t.values[belief, c.left_weight[pair]]
            b = t.values[belief, c.right_weight[pair]]
            nu, matrix = t.nu[belief], t.forms[belief, outputs + 2 * pairs + pair]
            of_i = t.values[belief, 2 * outputs + pair]
            of_j = t.values[belief, 2 * outputs + pairs + pair]
            total = 0.0
            carry(nu, matrix, begin, end, carried)
            for i in range(begin, end):
                if pair < outputs:
                    column = i // STEP * STEP
                    exponents(nu, carried, i - begin, of_i[i], of_j, column, values)
                    row = triple_sum(b, weights, i, values, column, column + STEP)
                    row += 2.0 * triple_sum(b, weights, i, values, column + STEP, n)
                else:
                    exponents(nu, carried, i - begin, of_i[i], of_j, 0, values)
                    row = product_sum(b, values, 0)
                total += a[i] * row
            sums[belief, pair, block] = total


@exact
def carry(nu: Array, matrix: Array, first: int, last: int, carried: Array) -> None:
    """``Λ_b⁻¹ G_ab Λ_a⁻¹ ν_i`` of rows ``first`` to ``last``, into columns of ``carried``."""
    for k in range(len(matrix)):
        out = carried[k, : last - first]
        out[:] = 0.0
        for m in range(len(matrix)):
            add_multiple(matrix[k, m], nu[m, first:last], out, 0)


@exact
def exponents(
    nu: Array, carried: Array, row: int, of_i: float, of_j: Array, column: int, values: Array
) -> None:
    """``exp(d_ij) - 1`` of the i in column ``row`` of ``carried``, for j from ``column`` on."""
    last = len(nu) - 4
    if last == 0:
        _expm1_with_four(carried, row, nu, 0, of_j, of_i, column, values)
        return
    _add_four(carried, row, nu, 0, of_j, of_i, column, values)
    for k in range(4, last, 4):
        _add_four(carried, row, nu, k, values, 0.0, column, values)
    _expm1_with_four(carried, row, nu, last, values, 0.0, column, values)


@exact
def _add_four(
    carried: Array,
    row: int,
    nu: Array,
    k: int,
    source: Array,
    constant: float,
    column: int,
    out: Array,
) -> None:
    """``source`` plus a constant and four terms of ``Σ_k carried_k ν_k``, from k on."""
    first, second = carried[k, row], carried[k + 1, row]
    third, fourth = carried[k + 2, row], carried[k + 3, row]
    nu_1, nu_2, nu_3, nu_4 = (
        nu[k, column:],
        nu[k + 1, column:],
        nu[k + 2, column:],
        nu[k + 3, column:],
    )
    known, target = source[column:], out[column:]
    for j in range(len(target)):
        one = first * nu_1[j] + second * nu_2[j]
        other = third * nu_3[j] + fourth * nu_4[j]
        target[j] = (known[j] + constant) + (one + other)


@exact
def _expm1_with_four(
    carried: Array,
    row: int,
    nu: Array,
    k: int,
    source: Array,
    constant: float,
    column: int,
    out: Array,
) -> None:
    """``exp(x) - 1``, where x is what :func:`_add_four` would give."""
    first, second = carried[k, row], carried[k + 1, row]
    third, fourth = carried[k + 2, row], carried[k + 3, row]
    nu_1, nu_2, nu_3, nu_4 = (
        nu[k, column:],
        nu[k + 1, column:],
        nu[k + 2, column:],
        nu[k + 3, column:],
    )
    known, target = source[column:], out[column:]
    for j in range(len(target)):
        one = first * nu_1[j] + second * nu_2[j]
        other = third * nu_3[j] + fourth * nu_4[j]
        target[j] = expm1((known[j] + constant) + (one + other))


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
