"""The sums over pairs of training points that moment matching spends its time in.

A belief has P problems, one for each pair of outputs. With ``d_ij = Σ_k left_ki right_kj``::

    pair_sum = Σ_ij  a_i  b_j  w_ij  (exp(d_ij) - 1)

The first W problems of a belief have weights w and are symmetric (d, w symmetric and a = b); the
others have w = 1. ``exp(d) - 1`` is one function (expm1) and not a difference, so that the sum
keeps its relative accuracy as d goes to zero, which is where beliefs are nearly certain. The
n x n matrix of a problem is never in memory as a whole unless it is small: a tile of it is
computed, reduced and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

# A tile of this many float64 (2 MiB) stays in the second-level caches of two cores. Up to so many,
# all problems of a belief are one tile: fewer operations outweigh that the lower halves of its
# symmetric problems are computed too.
_TILE = 262_144

# Where d exceeds this, a_i b_j exp(d_ij) is below 1e-300 in the sums of moment matching (there
# Q_ij <= α² min(q_i, q_j), so q_i q_j exp(d) = Q implies Q <= α² exp(-d)), but exp would give
# inf and 0 * inf a NaN.
_LARGEST = 700.0


class _Tile(NamedTuple):
    """Rows of a range of problems, counted through all beliefs; columns from ``column`` on.

    ``weighted`` says which weights go with them: None for none, or their range; ``whole`` that
    the problems are those of whole beliefs, so that the first W of each have weights.
    """

    problems: slice
    rows: slice
    column: int
    weighted: slice | None
    whole: bool


def _tiles(batch: int, problems: int, weighted: int, n: int, *, halves: bool) -> Iterator[_Tile]:
    """Tiles that cover every pair once, or with ``halves`` only half of what is symmetric.

    Which tiles a belief is cut into does not depend on the beliefs beside it.
    """
    numbers = problems * n * n
    if numbers <= _TILE:
        together = _TILE // numbers
        for first in range(0, batch, together):
            last = min(batch, first + together)
            yield _Tile(slice(first * problems, last * problems), slice(0, n), 0, None, True)
        return
    for belief in range(batch):
        for first, last, halved in ((0, weighted, halves), (weighted, problems, False)):
            rows = min(-(-n // 4) if halved else n, max(1, _TILE // n))
            together = max(1, _TILE // (rows * n))
            for begin in range(first, last, together):
                end = min(last, begin + together)
                own = slice(begin, end) if end <= weighted else None
                flat = slice(belief * problems + begin, belief * problems + end)
                for row in range(0, n, rows):
                    column = row if halved else 0
                    yield _Tile(flat, slice(row, min(n, row + rows)), column, own, False)


class _Exponents:
    """``w (exp(d) - 1)`` of one tile after the other, in the same memory."""

    def __init__(self, left: Tensor, right: Tensor, weights: Tensor, largest: float | None):
        self.left, self.right = left.flatten(0, 1), right.flatten(0, 1)
        self.problems, self.weights, self.largest = left.shape[1], weights, largest
        self.buffer = left.new_empty(0)

    def __call__(self, tile: _Tile) -> Tensor:
        """``(problems, rows, columns)``."""
        problems, rows, column = tile.problems, tile.rows, tile.column
        n = self.left.shape[-1]
        shape = (problems.stop - problems.start, rows.stop - rows.start, n - column)
        size = shape[0] * shape[1] * shape[2]
        if self.buffer.numel() < size:
            self.buffer = self.left.new_empty(size)
        values = self.buffer[:size].view(shape)
        left, right = self.left[problems], self.right[problems]
        if not tile.whole:
            left, right = left[:, :, rows], right[:, :, column:]
        torch.bmm(left.mT, right, out=values)
        if self.largest is not None:
            values.clamp_(max=self.largest)
        values.expm1_()
        if tile.whole:
            values.view(-1, self.problems, n, n)[:, : len(self.weights)].mul_(self.weights)
        elif tile.weighted is not None:
            values.mul_(self.weights[tile.weighted, rows, column:])
        return values


def pair_sum(left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """The sums ``(B, P)``. Not differentiable.

    Args:
        left, right: ``(B, P, K, n)``.
        a, b: ``(B, P, n)``.
        weights: w of the first W problems of each belief, ``(W, n, n)``.
    """
    total = _pair_sum(left, right, a, b, weights, None)
    if not isfinite(
        float(total.sum())
    ):  # some exponent was too large, or an argument is not finite
        again = _pair_sum(left, right, a, b, weights, _LARGEST)
        total = torch.where(total.isfinite(), total, again)
    return total


def _pair_sum(
    left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor, largest: float | None
) -> Tensor:
    batch, problems, _, n = left.shape
    total = left.new_zeros(batch * problems)
    a, b = a.flatten(0, 1), b.flatten(0, 1)
    exponents = _Exponents(left, right, weights, largest)
    for tile in _tiles(batch, problems, len(weights), n, halves=True):
        values = exponents(tile)
        rows = a[tile.problems, None, tile.rows]
        terms = torch.bmm(rows, values)[:, 0] * b[tile.problems, tile.column :]
        total[tile.problems] += terms.sum(-1)
        if tile.weighted is not None:  # what is left of the diagonal blocks is as what is right
            total[tile.problems] += terms[:, tile.rows.stop - tile.rows.start :].sum(-1)
    return total.view(batch, problems)


def pair_sum_whole(left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """:func:`pair_sum` in differentiable operations on whole ``(B, P, n, n)`` matrices."""
    values = (left.mT @ right).clamp(max=_LARGEST).expm1()
    symmetric, others = torch.split(values, [len(weights), values.shape[1] - len(weights)], dim=1)
    values = torch.cat([symmetric * weights, others], dim=1)
    return ((a.unsqueeze(-2) @ values).squeeze(-2) * b).sum(-1)


def pair_sums_for_gradient(
    left: Tensor, right: Tensor, rows: Tensor, b: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """What the gradient of the sums is made of.

    Args:
        left, right, b, weights: as of :func:`pair_sum`.
        rows: R rows for each problem, ``(B, P, R, n)``.

    Returns:
        ``Σ_i rows_ri w_ij (exp(d_ij) - 1)`` ``(B, P, R, n)``, and for the problems without
        weights ``Σ_j (exp(d_ij) - 1) b_j`` ``(B, P - W, n)``.
    """
    batch, problems, _, n = left.shape
    weighted = len(weights)
    by_column = torch.zeros_like(rows).flatten(0, 1)
    by_row = b.new_empty(batch, problems - weighted, n)
    rows = rows.flatten(0, 1)
    exponents = _Exponents(left, right, weights, _LARGEST)
    for tile in _tiles(batch, problems, weighted, n, halves=False):
        values = exponents(tile)
        by_column[tile.problems] += torch.bmm(rows[tile.problems, :, tile.rows], values)
        if tile.weighted is not None or problems == weighted:
            continue
        first = tile.problems.start // problems
        if tile.whole:
            last = tile.problems.stop // problems
            others = values.view(-1, problems, n, n)[:, weighted:]
            by_row[first:last] = others.mul_(b[first:last, weighted:, None]).sum(-1)
        else:
            begin = tile.problems.start % problems
            which = slice(begin, begin + len(values))
            own = slice(begin - weighted, begin - weighted + len(values))
            by_row[first, own, tile.rows] = values.mul_(b[first, which, None]).sum(-1)
    return by_column.view(batch, problems, -1, n), by_row
