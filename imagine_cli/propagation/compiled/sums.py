"""Sums and multiples of vectors, from a column on.

A vector is one dimension of an array, or with a row number that row of a matrix: cut out
here, where it costs nothing.
"""

from __future__ import annotations

from imagine_cli.propagation.compiled.kernel import exact, summing
from imagine_cli.propagation.compiled.layout import Array

__all__ = [
    "add_multiple",
    "add_row",
    "leading_sum",
    "plain_sum",
    "product_sum",
    "row_sum",
    "triple_sum",
]


@summing
def plain_sum(values: Array, column: int) -> float:
    """``Σ_j values_j``."""
    right = values[column:]
    total = 0.0
    for j in range(len(right)):
        total += right[j]
    return total


@summing
def product_sum(one: Array, other: Array, column: int) -> float:
    """``Σ_j one_j other_j``."""
    left, right = one[column:], other[column:]
    total = 0.0
    for j in range(len(right)):
        total += left[j] * right[j]
    return total


@summing
def row_sum(matrix: Array, row: int, values: Array, column: int) -> float:
    """``Σ_j matrix_row,j values_j``."""
    left, right = matrix[row, column:], values[column:]
    total = 0.0
    for j in range(len(right)):
        total += left[j] * right[j]
    return total


@summing
def leading_sum(matrix: Array, row: int, values: Array, count: int) -> float:
    """``Σ_j matrix_row,j values_j`` of the first ``count``."""
    left, right = matrix[row, :count], values[:count]
    total = 0.0
    for j in range(len(right)):
        total += left[j] * right[j]
    return total


@summing
def triple_sum(one: Array, matrix: Array, row: int, values: Array, column: int, end: int) -> float:
    """``Σ_j one_j matrix_row,j values_j``, up to ``end``."""
    left, middle, right = one[column:end], matrix[row, column:end], values[column:end]
    total = 0.0
    for j in range(len(right)):
        total += left[j] * middle[j] * right[j]
    return total


@exact
def add_multiple(scale: float, values: Array, out: Array, column: int) -> None:
    """Adds ``scale`` times ``values`` to ``out``."""
    right, target = values[column:], out[column:]
    for j in range(len(target)):
        target[j] += scale * right[j]


@exact
def add_row(scale: float, matrix: Array, row: int, out: Array, column: int) -> None:
    """Adds ``scale`` times a row of ``matrix`` to ``out``."""
    right, target = matrix[row, column:], out[column:]
    for j in range(len(target)):
        target[j] += scale * right[j]
