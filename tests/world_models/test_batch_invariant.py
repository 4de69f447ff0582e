"""Products called in every way of torch's: the same numbers, and batch invariant to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imagine_cli.world_models.batch_invariant import BatchInvariantProducts

W, V, BIAS = (
    torch.randn(*shape, generator=torch.manual_seed(k))
    for k, shape in enumerate([(5, 7), (7, 5), (7,)])
)

WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: functional.linear(input=x, weight=V, bias=BIAS),
    "linear, mixed": lambda x: functional.linear(x, bias=BIAS, weight=V),
    "matmul": lambda x: torch.matmul(input=x, other=W),
    "matmul, no out": lambda x: torch.matmul(x, W, out=None),
    "matmul, out": lambda x: torch.matmul(x, W, out=x.new_empty(0)),
    "matmul of a tensor": lambda x: x.matmul(other=W),
    "mm": lambda x: torch.mm(input=x, mat2=W),
    "mm of a tensor": lambda x: x.mm(mat2=W),
    "bmm": lambda x: torch.bmm(input=x[None], mat2=W[None])[0],
    "addmm": lambda x: torch.addmm(input=BIAS, mat1=x, mat2=W, beta=0.5, alpha=2.0),
    "addmm of a tensor": lambda x: BIAS.addmm(mat1=x, mat2=W),
    "baddbmm": lambda x: torch.baddbmm(input=BIAS, batch1=x[None], batch2=W[None])[0],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_keywords_are_torchs(way: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(32, 5, generator=torch.manual_seed(3))
    with BatchInvariantProducts():
        found = way(x)
        shifted = way(x.roll(1, 0))
    torch.testing.assert_close(found, way(x))
    assert torch.equal(shifted.roll(-1, 0), found)


def test_the_product_is_the_padded_one_with_keywords_too() -> None:
    x = torch.randn(32, 5, generator=torch.manual_seed(3))
    out = torch.empty(0)
    with BatchInvariantProducts():
        plain = torch.matmul(x, W)
        assert torch.equal(torch.matmul(input=x, other=W), plain)
        assert torch.equal(torch.mm(x, mat2=W), plain)
        assert torch.matmul(x, W, out=out) is out
    assert torch.equal(out, plain)


def test_other_ways_are_left_to_torch() -> None:
    x = torch.randn(32, 5)
    with BatchInvariantProducts():
        torch.testing.assert_close(torch.matmul(x1=x, x2=W), x @ W)
        with pytest.raises(TypeError, match="matmul"):
            torch.matmul(x, nothing=W)  # type: ignore[call-overload]
