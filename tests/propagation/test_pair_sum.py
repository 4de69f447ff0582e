from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import imagine_cli.propagation.pair_sum as module
from imagine_cli.propagation.pair_sum import pair_sum


def problem(
    count: int, n: int, period: int | None, seed: int = 0, size: float = 0.5
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = None if period is None else normal(period, n, n).triu()
    left, right = size * normal(count, n, 3), normal(count, n, 3)
    return left, right, normal(count, n), normal(count, n), weights


def naive(left: Tensor, right: Tensor, a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    """Longdouble, by the definition."""
    rows, columns, a_, b_ = (x.detach().numpy().astype(np.longdouble) for x in (left, right, a, b))
    terms = np.expm1(np.einsum("kid,kjd->kij", rows, columns))
    terms = terms * a_[:, :, None] * b_[:, None, :]
    if weights is not None:
        period = weights.shape[0]
        w = weights.detach().numpy().astype(np.longdouble)
        terms = terms * w[np.arange(len(terms)) % period]
    return torch.from_numpy(terms.sum((1, 2)).astype(float))


CASES = [(1, 1, None), (1, 1, 1), (5, 4, None), (6, 4, 3), (6, 5, 6), (4, 7, 1), (3, 40, 3)]


@pytest.mark.parametrize("tile", [1, 7, 20, 64, module._TILE])
@pytest.mark.parametrize(("count", "n", "period"), CASES)
def test_value_in_tiles_of_any_size(
    monkeypatch: pytest.MonkeyPatch, count: int, n: int, period: int | None, tile: int
) -> None:
    monkeypatch.setattr(module, "_TILE", tile)
    given_ = problem(count, n, period)
    wanted = naive(*given_)
    scale = naive(*(x if x is None else x.abs() for x in given_))
    assert ((pair_sum(*given_) - wanted).abs() <= 1e-14 * scale).all()


@pytest.mark.parametrize("tile", [1, 7, 20, 64])
@pytest.mark.parametrize(("count", "n", "period"), CASES)
def test_gradient_in_tiles_of_any_size(
    monkeypatch: pytest.MonkeyPatch, count: int, n: int, period: int | None, tile: int
) -> None:
    def gradient() -> tuple[Tensor, ...]:
        *parts, weights = problem(count, n, period)
        leaves = [x.requires_grad_() for x in parts]
        scale = torch.linspace(0.5, 1.5, count, dtype=torch.float64)
        return torch.autograd.grad((pair_sum(*leaves, weights) * scale).sum(), leaves)

    whole = gradient()
    monkeypatch.setattr(module, "_TILE", tile)
    for found, wanted in zip(gradient(), whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12 * n)


@given(
    count=st.integers(1, 12),
    n=st.integers(1, 9),
    period=st.sampled_from([None, 1, 2, 3]),
    tile=st.integers(1, 200),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_pair_once(
    count: int, n: int, period: int | None, tile: int, seed: int
) -> None:
    if period is not None:
        count = period * (1 + count // period)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile)
        seen = torch.zeros(count, n, dtype=torch.int64)
        for problems, rows in module._tiles(count, n, period):
            seen[problems, rows] += 1
            if period is not None:
                size = problems.stop - problems.start
                assert size % period == 0 or size <= period - problems.start % period
        assert (seen == 1).all()
        given_ = problem(count, n, period, seed)
        scale = naive(*(x if x is None else x.abs() for x in given_))
        assert ((pair_sum(*given_) - naive(*given_)).abs() <= 1e-14 * scale).all()


@pytest.mark.parametrize("period", [None, 2])
@pytest.mark.parametrize("size", [0.0, 0.5])
def test_first_and_second_derivatives(period: int | None, size: float) -> None:
    *parts, weights = problem(4, 3, period, size=size)
    leaves = tuple(x.requires_grad_() for x in parts)

    def function(*x: Tensor) -> Any:
        return pair_sum(*x, weights)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_whole_and_tiled_gradients_agree() -> None:
    *parts, weights = problem(4, 6, 2)
    leaves = [x.requires_grad_() for x in parts]
    tiled = torch.autograd.grad(pair_sum(*leaves, weights).sum(), leaves)
    whole = torch.autograd.grad(pair_sum(*leaves, weights).sum(), leaves, create_graph=True)
    for found, wanted in zip(tiled, whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-16, 1e-8])
def test_relative_accuracy_of_small_exponents(size: float) -> None:
    left, right, a, b, _ = problem(3, 5, None)
    left, a, b, right = (x.abs() for x in (left * size, a, b, right))
    wanted = naive(left, right, a, b, None)
    assert ((pair_sum(left, right, a, b, None) / wanted - 1.0).abs() < 1e-14).all()


@pytest.mark.parametrize("exponent", [699.0, 701.0, 1e3, 1e6])
def test_large_exponents_stay_finite(exponent: float) -> None:
    """As in moment matching, where a_i b_j is then at most exp(-2 d): zero beyond d = 373."""
    left = torch.tensor([[[exponent, 0.0], [0.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    right = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([[0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    value = pair_sum(left, right, a, b, None)
    torch.testing.assert_close(value[0].item(), 6.0 * float(np.expm1(0.5)), rtol=1e-15, atol=0.0)
    for gradient in torch.autograd.grad(value.sum(), [left, right, a, b]):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("n", [3, 20, 400])
@pytest.mark.parametrize("period", [None, 2])
def test_a_problem_does_not_see_its_neighbours(n: int, period: int | None) -> None:
    left, right, a, b, weights = problem(14, n, period, size=0.1)
    step = period or 1
    whole = pair_sum(left, right, a, b, weights)
    for start in range(0, 14, step):
        some = slice(start, start + step)
        alone = pair_sum(left[some], right[some], a[some], b[some], weights)
        assert torch.equal(alone, whole[some])


def test_the_graph_keeps_only_the_arguments() -> None:
    *parts, _ = problem(2, 50, None)
    leaves = [x.requires_grad_() for x in parts]
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pair_sum(*leaves, None)
    assert sum(kept) == sum(x.numel() for x in leaves)
