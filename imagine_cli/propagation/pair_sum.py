"""The sum over pairs of training points that moment matching spends its time in.

For each of N problems, with ``d_ij = left_i · right_j``::

    pair_sum = Σ_ij  a_i  b_j  w_ij  (exp(d_ij) - 1)

``exp(d) - 1`` is one function (expm1) and not a difference, so that the sum keeps its relative
accuracy as d goes to zero, which is where beliefs are nearly certain. The n x n matrix of a
problem is never in memory as a whole: a tile of it is computed, reduced and forgotten. The
gradient is written out below and walks the same tiles again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["pair_sum"]

# A tile of this many float64 (1 MiB) stays in the second-level cache of one or two cores.
_TILE = 131_072

# Where d exceeds this, a_i b_j exp(d_ij) is below 1e-300 in the sums of moment matching (there
# Q_ij <= α² min(q_i, q_j), so q_i q_j exp(d) = Q implies Q <= α² exp(-d)), but exp would give
# inf and 0 * inf a NaN.
_LARGEST = 700.0


def pair_sum(left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    """``Σ_ij a_i b_j w_ij (exp(left_i · right_j) - 1)`` for each of N problems: ``(N,)``.

    Args:
        left: ``(N, n, K)``.
        right: ``(N, n, K)``.
        a: ``(N, n)``.
        b: ``(N, n)``.
        weights: None for all ones, or ``(M, n, n)`` with N a multiple of M: problem k uses
            ``weights[k % M]``. Upper triangular (nothing below the diagonal is read or summed),
            so that a symmetric problem costs half: fold the lower triangle into the upper one.
    """
    result: Tensor = _PairSum.apply(left, right, a, b, weights)  # type: ignore[no-untyped-call]
    return result


def _tiles(count: int, n: int, period: int | None) -> Iterator[tuple[slice, slice]]:
    """(problems, rows) of each tile: whole problems together while they fit, else rows of one.

    With weights, ``period`` of them, a tile has whole periods of problems, or part of one; and a
    quarter of the rows at most, since what is left of the diagonal is not computed.
    """
    rows = min(n, max(1, _TILE // n)) if period is None else min(-(-n // 4), max(1, _TILE // n))
    together = max(1, _TILE // (rows * n))
    if period is not None and together > period:
        together -= together % period
    first = 0
    while first < count:
        end = min(count, first + together)
        if period is not None and together < period:
            end = min(end, first - first % period + period)
        for row in range(0, n, rows):
            yield slice(first, end), slice(row, min(n, row + rows))
        first = end


def _beside(tile: Tensor, weights: Tensor, some: slice, rows: slice) -> tuple[Tensor, Tensor]:
    """A tile, and the weights of its problems, so shaped that they go together elementwise."""
    period, count = len(weights), some.stop - some.start
    block = weights[:, rows, rows.start :]
    if count % period == 0:
        return tile.view(-1, period, *tile.shape[1:]), block
    start = some.start % period
    return tile, block[start : start + count]


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(left, right, a, b, weights)
        count, n, _ = left.shape
        right_t = right.mT
        total = left.new_zeros(count)
        period = None if weights is None else weights.shape[0]
        buffer = left.new_empty(_buffer_size(count, n))
        for some, rows in _tiles(count, n, period):
            first = rows.start if weights is not None else 0
            tile = _tile_of(buffer, some, rows, n - first)
            torch.bmm(left[some, rows], right_t[some, :, first:], out=tile)
            tile.clamp_(max=_LARGEST).expm1_()
            if weights is not None:
                whole, w = _beside(tile, weights, some, rows)
                whole.mul_(w)
            by_row = torch.bmm(a[some, None, rows], tile)
            total[some] += torch.bmm(by_row, b[some, first:, None])[:, 0, 0]
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, right, a, b, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_whole_gradient(left, right, a, b, weights, grad), None
        count, n, _ = left.shape
        right_t = right.mT
        grad_left, grad_right = torch.zeros_like(left), torch.zeros_like(right)
        grad_a, grad_b = torch.zeros_like(a), torch.zeros_like(b)
        period = None if weights is None else weights.shape[0]
        buffer = left.new_empty(_buffer_size(count, n))
        for some, rows in _tiles(count, n, period):
            first = rows.start if weights is not None else 0
            tile = _tile_of(buffer, some, rows, n - first)
            torch.bmm(left[some, rows], right_t[some, :, first:], out=tile)
            tile.clamp_(max=_LARGEST).expm1_()
            ga = (grad[some, None] * a[some, rows]).unsqueeze(-2)
            b_some = b[some, first:].unsqueeze(-1)
            if weights is not None:
                whole, w = _beside(tile, weights, some, rows)
                whole.mul_(w)
            grad_a[some, rows] += grad[some, None] * torch.bmm(tile, b_some)[..., 0]
            grad_b[some, first:] += torch.bmm(ga, tile)[:, 0]
            if weights is not None:
                whole.add_(w)
            else:
                tile.add_(1.0)
            # The tile is w exp(d) now, and ∂ / ∂d_ij = g a_i b_j w_ij exp(d_ij).
            grad_left[some, rows] += ga.mT * torch.bmm(tile, b_some * right[some, first:])
            grad_right[some, first:] += b_some * torch.bmm(tile.mT, ga.mT * left[some, rows])
        return grad_left, grad_right, grad_a, grad_b, None


def _buffer_size(count: int, n: int) -> int:
    return max(n, min(count * n * n, _TILE))


def _tile_of(buffer: Tensor, some: slice, rows: slice, columns: int) -> Tensor:
    shape = (some.stop - some.start, rows.stop - rows.start, columns)
    return buffer[: shape[0] * shape[1] * shape[2]].view(shape)


def _whole_gradient(
    left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor | None, grad: Tensor
) -> tuple[Tensor, ...]:
    """The gradient in differentiable operations on whole (N, n, n) matrices."""
    exponent = (left @ right.mT).clamp(max=_LARGEST)
    small, large = torch.expm1(exponent), torch.exp(exponent)
    if weights is not None:
        w = weights.repeat(left.shape[0] // weights.shape[0], 1, 1).triu()
        small, large = w * small, w * large
    g = grad[:, None]
    inner = g[..., None] * a[..., None] * b[:, None, :] * large
    return (
        inner @ right,
        inner.mT @ left,
        g * (small @ b[..., None])[..., 0],
        g * (small.mT @ a[..., None])[..., 0],
    )
