"""Points through a function in tiles of one size, so that their number can't show in the bits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WIDTH = 8
_SMALLEST_GROUP = 40
# In bytes of a column.
_LARGEST_GROUP = 2048


def tile_rows(points: Tensor) -> int:
    """How many points a tile has: a cache's worth on a CPU, many on anything else."""
    return 32 if points.device.type == "cpu" else 4096


def group_rows(points: Tensor, count: int, groups: int) -> int:
    """How many points of a group a tile has, where ``count`` points are shared out evenly.

    Their share, cut where it is large into pieces of one size: on a CPU up to 512 rows of
    float32, half as many of float64, which threads can divide, and nothing is padded. Where it is
    small at least 40, as there may be many shares to compute together, and calls for a few rows
    each would cost more than the rows.
    """
    if points.device.type != "cpu":
        return tile_rows(points)
    share = -(-count // groups)
    pieces = max(1, -(-share // (_LARGEST_GROUP // points.element_size())))
    return max(_SMALLEST_GROUP, -(-share // (pieces * _WIDTH)) * _WIDTH)


def in_tiles(
    function: Callable[[Tensor], tuple[Tensor, ...]], points: Tensor, rows: int | None = None
) -> tuple[Tensor, ...]:
    """``function`` of ``(N, E)``, computed for ``rows`` at a time, or as many as :func:`tile_rows`.

    Matrix products choose their kernels, and with them the order of their sums, by the number of
    rows. In tiles of one size, the last one filled up with copies of the first row, and with
    matrices that are :func:`padded`, each row's result depends on that row alone.

    Args:
        function: takes ``(rows, E)`` and returns tensors ``(rows, ...)``, row by row.
        points: ``(N, E)``, or with more axes. Where N is 0 a tile of zeros says what shapes the
            results have.
        rows: of a tile.

    Returns:
        Tensors ``(N, ...)``.
    """
    count, rows = points.shape[0], rows or tile_rows(points)
    missing = -count % rows if count else rows
    if missing:
        filling = points[:1] if count else points.new_zeros(1, *points.shape[1:])
        points = torch.cat([points, filling.expand(missing, *points.shape[1:])])
    parts = [function(tile) for tile in torch.split(points, rows)]
    return tuple(torch.cat(some)[:count] for some in zip(*parts, strict=True))


def padded(values: Tensor, *axes: int, fill: float = 0.0) -> Tensor:
    """``values`` with ``fill`` added at the end of these axes, up to a multiple of eight.

    In products of other widths a row's bits may depend on its place in the tile, as rows then
    begin at odd addresses.
    """
    for axis in axes:
        missing = -values.shape[axis] % _WIDTH
        if missing:
            shape = list(values.shape)
            shape[axis] = missing
            values = torch.cat([values, values.new_full(shape, fill)], dim=axis)
    return values


class Groups:
    """Points shared out among groups: which of them lie side by side in a tile.

    Args:
        group: of each point, ``(N,)`` int64, 0 to ``count - 1``.
        count: how many there are.
        rows: of a group in a tile, see :func:`group_rows`.
    """

    def __init__(self, group: Tensor, count: int, rows: int) -> None:
        self._group, self._count, self._rows = group, count, rows
        each = torch.arange(count, device=group.device).unsqueeze(1)
        # How many of its group there are up to each point, itself among them, and in all.
        counted = (group == each).cumsum(1)
        most = int(counted[:, -1].max()) if len(group) else 1
        length = -(-most // rows) * rows
        self._slot = (counted.gather(0, group.unsqueeze(0))[0] - 1) * count + group
        self._chosen = torch.zeros(length * count, dtype=torch.int64, device=group.device)
        self._chosen.scatter_(0, self._slot, torch.arange(len(group), device=group.device))

    def same(self, group: Tensor, rows: int) -> bool:
        """Whether they are what these groups and rows would make."""
        known = self._group
        return (
            rows == self._rows
            and group.shape == known.shape
            and group.device == known.device
            and torch.equal(group, known)
        )

    def through(self, function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        """``function`` of all groups' points side by side, each point in the place of its group.

        As :func:`in_tiles`, with no more work than the largest group times the number of groups.

        Args:
            function: takes ``(rows, count, E)`` and returns ``(rows, count, K)``.
            points: ``(N, E)``.

        Returns:
            ``(N, K)``.
        """
        if not len(points):
            empty = points.new_zeros(self._rows, self._count, points.shape[1])
            return function(empty).flatten(0, 1)[:0]
        side_by_side = points.index_select(0, self._chosen).view(-1, self._count, points.shape[1])
        tiles = torch.split(side_by_side, self._rows)
        parts = [function(tile) for tile in tiles]
        found = parts[0] if len(parts) == 1 else torch.cat(parts)
        return found.flatten(0, 1).index_select(0, self._slot)
