"""Points through a function in tiles of one size, so that their number can't show in the bits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_tiles", "tile_rows"]


def tile_rows(points: Tensor) -> int:
    """How many points a tile has: a cache's worth on a CPU, many on anything else."""
    return 32 if points.device.type == "cpu" else 4096


def in_tiles(
    function: Callable[[Tensor], tuple[Tensor, ...]], points: Tensor
) -> tuple[Tensor, ...]:
    """``function`` of ``(N, E)``, computed for so many rows at a time as :func:`tile_rows` says.

    Matrix products choose their kernels, and with them the order of their sums, by the number of
    rows. In tiles of one size, the last one filled up with copies of the first row, each row's
    result depends on that row alone.

    Args:
        function: takes ``(rows, E)`` and returns tensors ``(rows, ...)``, row by row.
        points: ``(N, E)``, N >= 1.

    Returns:
        Tensors ``(N, ...)``.
    """
    count, rows = points.shape[0], tile_rows(points)
    missing = -count % rows
    if missing:
        points = torch.cat([points, points[:1].expand(missing, -1)])
    parts = [function(tile) for tile in torch.split(points, rows)]
    return tuple(torch.cat(some)[:count] for some in zip(*parts, strict=True))
