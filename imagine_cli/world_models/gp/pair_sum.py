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


def _tiles(batch: int, problems: int, weighted: int, n: int) -> Iterator[_Tile]:
    """Tiles that cover every pair once, of what is symmetric and large only half.

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
        for first, last, halved in ((0, weighted, True), (weighted, problems, False)):
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
    return _pair_sum(left, right, a, b, weights, None)[0]


def pair_sums_for_gradient(
    left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The sums, to the bit those of :func:`pair_sum`, and what their gradient is made of.

    Args:
        left, right, a, b, weights: as of :func:`pair_sum`.
        rows: R rows for each problem, ``(B, P, R, n)``.

    Returns:
        ``(B, P)``; ``Σ_i rows_ri w_ij (exp(d_ij) - 1)`` ``(B, P, R, n)``; and for the problems
        without weights ``Σ_j (exp(d_ij) - 1) b_j`` ``(B, P - W, n)``.
    """
    total, found = _pair_sum(left, right, a, b, weights, rows)
    assert found is not None
    return total, found.by_column.view_as(rows), found.by_row


class _Reduced:
    """The sums of tiles along columns and rows, as :func:`pair_sums_for_gradient` says them."""

    def __init__(self, rows: Tensor, b: Tensor, weighted: int) -> None:
        self.rows, self.b, self.weighted = rows.flatten(0, 1), b, weighted
        self.by_column = torch.zeros_like(self.rows)
        self.by_row = b.new_empty(len(b), b.shape[1] - weighted, b.shape[2])

    def add(self, tile: _Tile, values: Tensor) -> None:
        """The values of a tile, which are written over."""
        given, sums, problems = self.rows[tile.problems], self.by_column, self.b.shape[1]
        sums[tile.problems, :, tile.column :] += torch.bmm(given[:, :, tile.rows], values)
        first = tile.problems.start // problems
        if tile.weighted is not None:  # what is left of the diagonal blocks is as what is right
            end = tile.rows.stop
            others = values[:, :, end - tile.rows.start :].mT
            sums[tile.problems, :, tile.rows] += torch.bmm(given[:, :, end:], others)
        elif tile.whole:
            some = slice(first, tile.problems.stop // problems)
            others = values.view(-1, problems, *values.shape[1:])[:, self.weighted :]
            self.by_row[some] = others.mul_(self.b[some, self.weighted :, None]).sum(-1)
        else:
            begin = tile.problems.start % problems
            own = slice(begin - self.weighted, begin - self.weighted + len(values))
            b = self.b[first, begin : begin + len(values), None]
            self.by_row[first, own, tile.rows] = values.mul_(b).sum(-1)


def _pair_sum(
    left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor, rows: Tensor | None
) -> tuple[Tensor, _Reduced | None]:
    total, found = _sums(left, right, a, b, weights, rows, None)
    if not isfinite(
        float(total.sum())
    ):  # some exponent was too large, or an argument is not finite
        again, found = _sums(left, right, a, b, weights, rows, _LARGEST)
        total = torch.where(total.isfinite(), total, again)
    return total, found


def _sums(
    left: Tensor,
    right: Tensor,
    a: Tensor,
    b: Tensor,
    weights: Tensor,
    rows: Tensor | None,
    largest: float | None,
) -> tuple[Tensor, _Reduced | None]:
    batch, problems, _, n = left.shape
    total = left.new_zeros(batch * problems)
    reduced = None if rows is None else _Reduced(rows, b, len(weights))
    a, b = a.flatten(0, 1), b.flatten(0, 1)
    exponents = _Exponents(left, right, weights, largest)
    for tile in _tiles(batch, problems, len(weights), n):
        values = exponents(tile)
        terms = torch.bmm(a[tile.problems, None, tile.rows], values)[:, 0]
        terms = terms * b[tile.problems, tile.column :]
        total[tile.problems] += terms.sum(-1)
        if tile.weighted is not None:  # what is left of the diagonal blocks is as what is right
            total[tile.problems] += terms[:, tile.rows.stop - tile.rows.start :].sum(-1)
        if reduced is not None:
            reduced.add(tile, values)
    return total.view(batch, problems), reduced


def pair_sum_whole(left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """:func:`pair_sum` in differentiable operations on whole ``(B, P, n, n)`` matrices."""
    values = (left.mT @ right).clamp(max=_LARGEST).expm1()
    symmetric, others = torch.split(values, [len(weights), values.shape[1] - len(weights)], dim=1)
    values = torch.cat([symmetric * weights, others], dim=1)
    return ((a.unsqueeze(-2) @ values).squeeze(-2) * b).sum(-1)
