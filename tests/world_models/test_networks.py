"""The softly bounded variance, written out."""

from __future__ import annotations

import pytest
import torch

from imagine_cli.world_models.networks import bounded, bounded_variance


def bounds(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([-10.0, -3.0, -0.2], dtype=dtype), torch.tensor([0.5, 2.0, 0.1]).to(dtype)


def test_it_is_the_exponential_of_the_bounded_logarithm() -> None:
    low, high = bounds(torch.float64)
    # Within 20 of the bounds; further off softplus is an approximation of torch's.
    logvar = torch.linspace(-9.0, 9.0, 999, dtype=torch.float64).view(-1, 3)
    wanted = bounded(logvar, low, high).exp()
    torch.testing.assert_close(bounded_variance(logvar, low, high), wanted, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_off_it_is_a_bound_and_has_a_gradient(dtype: torch.dtype) -> None:
    low, high = bounds(dtype)
    far = torch.tensor([[-1e4], [1e4]], dtype=dtype).expand(2, 3).clone().requires_grad_()
    var = bounded_variance(far, low, high)
    rtol = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(var[0], low.exp(), rtol=rtol, atol=0.0)
    torch.testing.assert_close(var[1], low.exp() + high.exp(), rtol=rtol, atol=0.0)
    (slope,) = torch.autograd.grad(var.sum(), far)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_its_gradient() -> None:
    low, high = bounds(torch.float64)
    logvar = torch.linspace(-8.0, 8.0, 30, dtype=torch.float64).view(-1, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: bounded_variance(v, low, high), logvar)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_do_not_depend_on_how_many_there_are(dtype: torch.dtype) -> None:
    low, high = bounds(dtype)
    logvar = torch.randn(5000, 3, generator=torch.manual_seed(0)).to(dtype)
    together = bounded_variance(logvar, low, high)
    apart = torch.cat([bounded_variance(row, low, high) for row in torch.split(logvar, 1)])
    assert torch.equal(apart, together)
    # and in columns of something wider
    wide = torch.cat([logvar, logvar], dim=1)[:, 3:]
    assert torch.equal(bounded_variance(wide, low, high), together)
