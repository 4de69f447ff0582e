from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imagine_cli.policies.squash import scaled_expm1, squash_sin


def random_belief(size: int, seed: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, dtype=torch.float64, generator=generator)
    mean = torch.randn(size, dtype=torch.float64, generator=generator)
    return mean, scale * root @ root.mT


def exact(mean: list[float], var: list[list[float]], i: int, j: int) -> mpmath.mpf:
    """cov[sin v_i, sin v_j] from E[cos(a + b)], in 120 digits."""
    with mpmath.workdps(120):
        (a, b), c = (mpmath.mpf(mean[i]), mpmath.mpf(mean[j])), mpmath.mpf(var[i][j])
        va, vb = mpmath.mpf(var[i][i]), mpmath.mpf(var[j][j])
        minus = mpmath.cos(a - b) * mpmath.exp(-(va + vb - 2 * c) / 2)
        plus = mpmath.cos(a + b) * mpmath.exp(-(va + vb + 2 * c) / 2)
        product = mpmath.sin(a) * mpmath.sin(b) * mpmath.exp(-(va + vb) / 2)
        return (minus - plus) / 2 - product


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-4, 1.0, 10.0])
def test_covariance_is_exact_at_any_scale(scale: float) -> None:
    mean, var = random_belief(3, 0, scale)
    mean[0] = math.pi / 2  # where the slope vanishes and only var squared is left
    bounds = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    got = squash_sin(mean, var, bounds)
    for i in range(3):
        for j in range(3):
            want = float(exact(mean.tolist(), var.tolist(), i, j)) * float(bounds[i] * bounds[j])
            assert got.var[i, j].item() == pytest.approx(want, rel=1e-11, abs=0.0)


def test_monte_carlo() -> None:
    mean, var = random_belief(2, 1, 0.7)
    bounds = torch.tensor([2.0, 0.5], dtype=torch.float64)
    got = squash_sin(mean, var, bounds)
    rng = np.random.default_rng(0)
    v = rng.multivariate_normal(mean.numpy(), var.numpy(), size=400_000)
    u = bounds.numpy() * np.sin(v)
    within(u.mean(0), got.mean.numpy(), u)
    centred = u - u.mean(0)
    outer = centred[:, :, None] * centred[:, None, :]
    within(outer.mean(0), got.var.numpy(), outer)
    cross = (v - v.mean(0))[:, :, None] * centred[:, None, :]
    within(cross.mean(0), (var * got.slope).numpy(), cross)


def within(estimate: np.ndarray, value: np.ndarray, samples: np.ndarray) -> None:
    error = samples.std(0) / math.sqrt(len(samples))
    assert (np.abs(estimate - value) < 4.0 * error).all()


def test_certainty_stays_certainty() -> None:
    mean = torch.tensor([[0.3, -2.0], [math.pi / 2, 0.0]], dtype=torch.float64)
    got = squash_sin(mean, torch.zeros(2, 2, 2, dtype=torch.float64), torch.tensor([2.0, 1.0]))
    assert torch.equal(got.var, torch.zeros(2, 2, 2, dtype=torch.float64))
    assert torch.equal(got.mean, torch.tensor([2.0, 1.0]) * mean.sin())


def test_huge_variance_is_a_uniform_phase() -> None:
    var = torch.tensor([[5e3, 4e3], [4e3, 5e3]], dtype=torch.float64)
    got = squash_sin(torch.tensor([0.3, 1.0], dtype=torch.float64), var, torch.tensor(2.0))
    assert torch.allclose(got.var, 2.0 * torch.eye(2, dtype=torch.float64), rtol=1e-14)
    assert torch.equal(got.mean, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0])
def test_gradients(scale: float) -> None:
    mean, var = random_belief(2, 3, scale)
    bounds = torch.tensor([2.0, 0.5], dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (mean, var, bounds)]
    assert torch.autograd.gradcheck(squash_sin, inputs, eps=1e-6, atol=1e-8)
    assert torch.autograd.gradgradcheck(squash_sin, inputs, atol=1e-7)


@given(st.floats(-1e4, 0), st.floats(-1e4, 1e4))
def test_scaled_expm1(log_scale: float, exponent: float) -> None:
    got = scaled_expm1(
        torch.tensor(log_scale, dtype=torch.float64), torch.tensor(exponent, dtype=torch.float64)
    ).item()
    with mpmath.workdps(40):
        want = mpmath.exp(log_scale) * mpmath.expm1(exponent)
    if abs(want) > 1e308:
        assert math.isinf(got) or abs(got) > 1e307
    else:
        rounding = 1e-15 * (4 + abs(log_scale) + abs(exponent))
        assert got == pytest.approx(float(want), rel=rounding, abs=1e-300)
