from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imagine_cli.belief import (
    ActionBelief,
    Belief,
    fit_to_particles,
    joint,
    nearest_covariance,
    point,
    symmetrise,
)

BATCHES = [(), (3,), (4, 2)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def covariance(*shape: int, rank: int | None = None, seed: int = 0) -> Tensor:
    root = normal(*shape[:-1], shape[-1], rank or shape[-1], seed=seed)
    return symmetrise(root @ root.mT)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_point_is_certain(batch: tuple[int, ...]) -> None:
    mean = normal(*batch, 3)
    belief = point(mean)
    assert belief.mean is mean
    assert torch.equal(belief.var, torch.zeros(*batch, 3, 3, dtype=torch.float64))


def test_symmetrise_is_symmetric_to_the_bit_and_changes_nothing_symmetric() -> None:
    var = symmetrise(normal(50, 4, 4))
    assert torch.equal(var, var.mT)
    assert torch.equal(symmetrise(var), var)
    torch.testing.assert_close(symmetrise(normal(4, 4)).trace(), normal(4, 4).trace())


@pytest.mark.parametrize("batch", BATCHES)
def test_joint_of_an_action_that_is_certain(batch: tuple[int, ...]) -> None:
    belief = Belief(normal(*batch, 3), covariance(*batch, 3))
    x = joint(belief, ActionBelief(normal(*batch, 2, seed=1)))
    assert torch.equal(x.mean, torch.cat([belief.mean, normal(*batch, 2, seed=1)], -1))
    assert torch.equal(x.var[..., :3, :3], belief.var)
    assert (x.var[..., 3:, :] == 0).all()
    assert (x.var[..., :, 3:] == 0).all()


@pytest.mark.parametrize("batch", BATCHES)
def test_joint_is_that_of_a_linear_policy(batch: tuple[int, ...]) -> None:
    """u = x C + noise, sampled from nowhere: cov[x, u] = Σ C exactly, singular Σ too."""
    var = covariance(*batch, 3, rank=1)
    slope, noise = normal(3, 2, seed=2), covariance(2, seed=3)
    action = ActionBelief(
        normal(*batch, 2, seed=1), slope.mT @ var @ slope + noise, slope.expand(*batch, 3, 2)
    )
    x = joint(Belief(normal(*batch, 3), var), action)
    both = torch.cat([torch.eye(3, dtype=torch.float64), slope], 1)
    wanted = both.mT @ var @ both
    wanted[..., 3:, 3:] += noise
    torch.testing.assert_close(x.var, wanted, rtol=1e-13, atol=1e-13)
    assert torch.equal(x.var, x.var.mT) or (x.var - x.var.mT).abs().max() < 1e-15


def test_joint_with_one_part_alone() -> None:
    belief = Belief(normal(3), covariance(3))
    mean, var, slope = normal(2, seed=1), covariance(2, seed=2), normal(3, 2, seed=3)
    x = joint(belief, ActionBelief(mean, var))
    assert torch.equal(x.var, torch.block_diag(belief.var, var))
    x = joint(belief, ActionBelief(mean, None, slope))
    assert torch.equal(x.var[:3, 3:], belief.var @ slope)
    assert torch.equal(x.var[3:, :3], (belief.var @ slope).mT)
    assert (x.var[3:, 3:] == 0).all()


def test_joint_is_differentiable() -> None:
    given_ = [normal(2), covariance(2), normal(1), covariance(1), normal(2, 1)]
    leaves = tuple(x.requires_grad_() for x in given_)

    def function(*x: Tensor) -> tuple[Tensor, ...]:
        return tuple(joint(Belief(*x[:2]), ActionBelief(*x[2:])))

    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("batch", BATCHES)
def test_fit_to_particles_is_the_sample_covariance(batch: tuple[int, ...]) -> None:
    particles = normal(*batch, 9, 3) + 5.0
    belief = fit_to_particles(particles)
    for mean, var, some in zip(
        belief.mean.reshape(-1, 3),
        belief.var.reshape(-1, 3, 3),
        particles.reshape(-1, 9, 3),
        strict=True,
    ):
        torch.testing.assert_close(mean, some.mean(0), rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(var, torch.cov(some.mT), rtol=1e-13, atol=1e-13)
        assert torch.equal(var, var.mT)


def test_fit_to_two_particles_is_their_line() -> None:
    belief = fit_to_particles(torch.tensor([[0.0, 0.0], [2.0, 4.0]], dtype=torch.float64))
    assert belief.mean.tolist() == [1.0, 2.0]
    assert belief.var.tolist() == [[2.0, 4.0], [4.0, 8.0]]


@given(
    seed=st.integers(0, 2**31),
    size=st.integers(1, 5),
    rank=st.integers(1, 5),
    power=st.integers(-12, 12),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=100, deadline=None)
def test_a_covariance_is_left_as_it_is(
    seed: int, size: int, rank: int, power: int, dtype: torch.dtype
) -> None:
    var = (10.0**power * covariance(3, size, rank=rank, seed=seed)).to(dtype)
    found, repaired = nearest_covariance(var)
    assert not repaired
    assert torch.equal(found, var)


@given(seed=st.integers(0, 2**31), size=st.integers(2, 5), power=st.integers(-12, 12))
@settings(max_examples=100, deadline=None)
def test_a_repaired_matrix_is_the_nearest_covariance(seed: int, size: int, power: int) -> None:
    """Nearest: A - X is orthogonal to X and negative semi-definite (the cone's projection)."""
    vectors = torch.linalg.qr(normal(size, size, seed=seed))[0]
    values = normal(size, seed=seed + 1).abs() + 0.1
    values[0] = -values[0]
    scale = 10.0**power
    bad = scale * symmetrise(vectors * values @ vectors.mT)
    good = scale * covariance(size, seed=seed + 2)
    found, repaired = nearest_covariance(torch.stack([good, bad]))
    assert repaired
    assert torch.equal(found[0], good)
    assert torch.equal(found[1], found[1].mT)
    rest = (bad - found[1]) / scale
    assert torch.linalg.eigvalsh(found[1] / scale)[0] > -1e-13
    assert torch.linalg.eigvalsh(rest)[-1] < 1e-13
    assert abs((rest * found[1] / scale).sum()) < 1e-12
    assert not nearest_covariance(found)[1]


def test_what_is_slightly_asymmetric_is_made_symmetric() -> None:
    var = torch.tensor([[1.0, 0.5], [0.5 + 1e-12, 1.0]], dtype=torch.float64)
    found, repaired = nearest_covariance(var)
    assert not repaired
    assert torch.equal(found, symmetrise(var))


def test_rounding_below_zero_is_no_repair() -> None:
    var = torch.diag(torch.tensor([1.0, -1e-12], dtype=torch.float64))
    found, repaired = nearest_covariance(var)
    assert not repaired
    assert torch.equal(found, var)
    found, repaired = nearest_covariance(torch.diag(torch.tensor([1.0, -1e-6]).double()))
    assert repaired
    assert torch.linalg.eigvalsh(found)[0] > -1e-16


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left(value: float) -> None:
    var = covariance(3, 2)
    var[1, 0, 0] = value
    found, repaired = nearest_covariance(var)
    assert not repaired
    torch.testing.assert_close(found, var, rtol=0.0, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (0, 2, 2), (2, 0, 3, 3)])
def test_zero_and_empty_need_no_repair(shape: tuple[int, ...]) -> None:
    found, repaired = nearest_covariance(torch.zeros(shape))
    assert not repaired
    assert found.shape == shape


def test_gradients_pass_through_a_repair() -> None:
    good, bad = covariance(2), torch.tensor([[1.0, 0.2], [0.2, -0.5]], dtype=torch.float64)
    leaf = torch.stack([good, bad]).requires_grad_()
    found, repaired = nearest_covariance(leaf)
    assert repaired
    found.sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad[0], torch.ones(2, 2, dtype=torch.float64))
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[1] != 0).any()
