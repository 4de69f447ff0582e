from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import imagine_cli.world_models.gp.pair_sum as module
from imagine_cli.world_models.gp.pair_sum import pair_sum, pair_sum_whole, pair_sums_for_gradient


class Problem(NamedTuple):
    left: Tensor
    right: Tensor
    a: Tensor
    b: Tensor
    weights: Tensor


def problem(
    batch: int, weighted: int, others: int, n: int, seed: int = 0, size: float = 0.5
) -> Problem:
    """K = 4; the weighted problems are symmetric, as they must be."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = normal(weighted, n, n)
    left, right = (
        size * normal(batch, weighted + others, 4, n),
        normal(batch, weighted + others, 4, n),
    )
    a, b = normal(batch, weighted + others, n), normal(batch, weighted + others, n)
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64).unsqueeze(-1)
    right[:, :weighted], b[:, :weighted] = signs * left[:, :weighted], a[:, :weighted]
    return Problem(left, right, a, b, weights + weights.mT)


def naive(x: Problem) -> np.ndarray:
    """``w_ij (exp(d_ij) - 1)`` in longdouble, by the definition: ``(B, P, n, n)``."""
    left, right, w = (v.numpy().astype(np.longdouble) for v in (x.left, x.right, x.weights))
    terms = np.expm1(np.einsum("bpki,bpkj->bpij", left, right))
    terms[:, : len(w)] *= w
    return terms


def total(x: Problem, terms: np.ndarray) -> Tensor:
    a, b = x.a.numpy()[..., :, None], x.b.numpy()[..., None, :]
    return torch.from_numpy((a * terms * b).sum((-1, -2)).astype(float))


def rounding(x: Problem) -> np.ndarray:
    """What errors of the terms are relative to: themselves, and the parts of their exponents."""
    exponents = (x.left.mT @ x.right).exp() * (x.left.abs().mT @ x.right.abs())
    exponents[:, : len(x.weights)] *= x.weights.abs()
    return np.abs(naive(x)) + exponents.numpy()


def check_value(x: Problem) -> None:
    """To 1e-14 of the sum of absolute terms."""
    scale = total(Problem(x.left, x.right, x.a.abs(), x.b.abs(), x.weights), rounding(x))
    assert ((pair_sum(*x) - total(x, naive(x))).abs() <= 1e-14 * scale).all()


CASES = [(1, 1, 0, 1), (5, 1, 0, 4), (2, 2, 1, 4), (1, 3, 3, 5), (4, 2, 1, 7), (2, 3, 3, 41)]
TILES = [1, 7, 20, 64, 500, module._TILE]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", CASES)
def test_value_in_tiles_of_any_size(
    monkeypatch: pytest.MonkeyPatch, case: tuple[int, ...], tile: int
) -> None:
    monkeypatch.setattr(module, "_TILE", tile)
    check_value(problem(*case))


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", CASES)
def test_sums_for_the_gradient_in_tiles_of_any_size(
    monkeypatch: pytest.MonkeyPatch, case: tuple[int, ...], tile: int
) -> None:
    monkeypatch.setattr(module, "_TILE", tile)
    x = problem(*case)
    rows = torch.randn(*x.left.shape[:2], 3, x.left.shape[-1], dtype=torch.float64)
    value, by_column, by_row = pair_sums_for_gradient(*x, rows)
    assert torch.equal(value, pair_sum(*x))

    def sums(terms: np.ndarray, rows: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = np.einsum("bpri,bpij->bprj", rows, terms)
        return columns, np.einsum("bpij,bpj->bpi", terms, b)[:, len(x.weights) :]

    exact = sums(naive(x), rows.numpy(), x.b.numpy())
    scales = sums(rounding(x), rows.abs().numpy(), x.b.abs().numpy())
    for value, wanted, scale in zip((by_column, by_row), exact, scales, strict=True):
        assert (np.abs(value.numpy() - wanted) <= 1e-14 * scale).all()


@given(
    batch=st.integers(0, 5),
    weighted=st.integers(0, 4),
    others=st.integers(0, 6),
    n=st.integers(1, 9),
    tile=st.integers(1, 400),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_pair_once(
    batch: int, weighted: int, others: int, n: int, tile: int, seed: int
) -> None:
    problems = weighted + others
    if problems == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile)
        seen = torch.zeros(batch * problems, n, n, dtype=torch.int64)
        for each in module._tiles(batch, problems, weighted, n):
            seen[each.problems, each.rows, each.column :] += 1
            if each.weighted is not None:
                seen[each.problems, each.rows.stop :, each.rows] += 1
                first = each.problems.start % problems
                count = each.problems.stop - each.problems.start
                assert slice(first, first + count) == each.weighted
        assert (seen == 1).all()
        check_value(problem(batch, weighted, others, n, seed))


def test_the_whole_matrices_agree() -> None:
    x = problem(3, 3, 3, 6)
    torch.testing.assert_close(pair_sum_whole(*x), pair_sum(*x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", [0.0, 0.5])
def test_derivatives_of_the_whole_matrices(size: float) -> None:
    *parts, weights = problem(2, 2, 1, 3, size=size)
    leaves = tuple(x.requires_grad_() for x in parts)
    assert torch.autograd.gradcheck(lambda *x: pair_sum_whole(*x, weights), leaves)
    assert torch.autograd.gradgradcheck(lambda *x: pair_sum_whole(*x, weights), leaves)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-16, 1e-8])
def test_relative_accuracy_of_small_exponents(size: float) -> None:
    left, right, a, b, weights = problem(3, 0, 2, 5)
    left, right, a, b = left.abs() * size, right.abs(), a.abs(), b.abs()
    x = Problem(left, right, a, b, weights)
    assert ((pair_sum(*x) / total(x, naive(x)) - 1.0).abs() < 1e-14).all()


@pytest.mark.parametrize("exponent", [699.0, 701.0, 1e3, 1e6])
def test_large_exponents_stay_finite(exponent: float) -> None:
    """As in moment matching, where a_i b_j is then at most exp(-2 d): zero beyond d = 373."""
    kwargs = {"dtype": torch.float64}
    left = torch.tensor([[[[exponent, 0.0], [0.0, 1.0]]]], **kwargs)
    right = torch.tensor([[[[1.0, 0.0], [0.0, 0.5]]]], **kwargs)
    a, b = torch.tensor([[[0.0, 2.0]]], **kwargs), torch.tensor([[[1.0, 3.0]]], **kwargs)
    weights = torch.empty(0, 2, 2, **kwargs)
    value = pair_sum(left, right, a, b, weights)
    torch.testing.assert_close(value.item(), 6.0 * float(np.expm1(0.5)), rtol=1e-15, atol=0.0)
    rows = a.unsqueeze(2)
    for sums in pair_sums_for_gradient(left, right, a, b, weights, rows):
        assert torch.isfinite(sums).all()


def test_one_large_exponent_changes_no_other_problem() -> None:
    left, right, a, b, weights = problem(2, 2, 1, 5)
    wanted = pair_sum(left, right, a, b, weights)[1]
    left[0] *= 1e6
    assert torch.equal(pair_sum(left, right, a, b, weights)[1], wanted)


@pytest.mark.parametrize("n", [3, 20, 130, 400])
@pytest.mark.parametrize(("weighted", "others"), [(2, 1), (1, 0), (3, 3)])
def test_a_belief_does_not_see_its_neighbours(weighted: int, others: int, n: int) -> None:
    *parts, weights = problem(9, weighted, others, n, size=0.1)
    whole = pair_sum(*parts, weights)
    for start in (0, 3, 8):
        some = (part[start : start + 2].clone() for part in parts)
        assert torch.equal(pair_sum(*some, weights), whole[start : start + 2])
