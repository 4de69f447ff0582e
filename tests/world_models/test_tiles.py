"""Points in the places of their groups."""

from __future__ import annotations

import pytest
import torch

from imagine_cli.world_models.tiles import Groups, group_rows, in_tiles


@pytest.mark.parametrize("group", [[0], [2, 2, 2], [1, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0]])
def test_each_point_goes_through_its_groups_function(group: list[int]) -> None:
    factors = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    shapes = []

    def function(tile: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tile.shape))
        return tile * factors.unsqueeze(1)

    points = torch.arange(2.0 * len(group)).view(-1, 2) + 1.0
    which = torch.tensor(group)
    groups = Groups(which, 4, 8)
    found = groups.through(function, points)
    assert groups.same(which.clone(), 8)
    assert not groups.same((which + 1) % 4, 8)
    assert not groups.same(which, 16)
    assert torch.equal(found, points * factors[which].unsqueeze(1))
    tiles = -(-max(group.count(k) for k in range(4)) // 8)
    assert shapes == [(8, 4, 2)] * tiles


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_share_is_cut_evenly(dtype: torch.dtype) -> None:
    points = torch.zeros(1, 8, dtype=dtype)
    most = 2048 // points.element_size()
    for together in (1, 100, 5 * most, 5 * most + 1, 20_000, 99_999):
        rows, share = group_rows(points, together, 5), -(-together // 5)
        assert rows % 8 == 0
        assert 40 <= rows <= most
        # of the last tile less than eight rows for each of the others are empty
        assert rows == 40 or -(-share // rows) * rows - share < 8 * -(-share // rows)


def test_no_points_at_all() -> None:
    points = torch.zeros(0, 2, requires_grad=True)

    def of_rows(tile: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert len(tile) == 32
        return tile[:, :1], tile.unsqueeze(1).expand(-1, 4, -1)

    found = in_tiles(of_rows, points)
    assert [tuple(part.shape) for part in found] == [(0, 1), (0, 4, 2)]
    assert found[0].requires_grad
    none = torch.zeros(0, dtype=torch.int64)
    groups = Groups(none, 4, group_rows(points, 0, 4))
    grouped = groups.through(lambda tile: tile[..., :1], points)
    assert tuple(grouped.shape) == (0, 1)
