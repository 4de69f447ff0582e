"""The next observation's distribution at points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.world_models import GaussianProcessWorldModel
from imagine_cli.world_models.tiles import padded
from tests.helpers.gp_at_points import posterior
from tests.helpers.worlds import small_gp


def points(count: int, size: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("noise", [True, False])
def test_the_gaussian_process_is_the_textbooks_posterior(noise: bool) -> None:
    gp = small_gp(3, 2)
    gp.process_noise = noise
    x, u = points(70, 3), points(70, 2, seed=2)
    at = gp.conditional(x.view(7, 10, 3), u.view(7, 10, 2))
    mean, var = posterior(gp, np.concatenate([x, u], axis=1))
    np.testing.assert_allclose(at.mean.reshape(70, 3), mean, rtol=1e-11, atol=1e-13)
    wanted = var + (gp.noise_variances.numpy() if noise else 0.0)
    np.testing.assert_allclose(at.var.reshape(70, 3), wanted, rtol=1e-10, atol=1e-14)
    assert at.is_diagonal
    assert at.reward_mean is None


def test_it_is_what_moment_matching_gives_a_point() -> None:
    gp = small_gp(3, 1)
    x, u = points(5, 3), points(5, 1)
    at, matched = gp.conditional(x, u), gp.predict(point(x), ActionBelief(u))
    torch.testing.assert_close(at.mean, matched.mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(at.covariance, matched.var, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("n", [12, 61, 150])
def test_a_points_bits_do_not_depend_on_the_points_beside_it(n: int) -> None:
    gp = small_gp(3, 1, n=n)
    x, u = points(100, 3), points(100, 1)
    together = gp.conditional(x, u)
    assert len(torch.unique(together.var)) > 50
    for rows in (slice(0, 1), slice(13, 20), slice(31, 64), slice(99, 100)):
        alone = gp.conditional(x[rows], u[rows])
        assert torch.equal(alone.mean, together.mean[rows])
        assert torch.equal(alone.var, together.var[rows])


def test_it_is_differentiable() -> None:
    gp = small_gp(2, 1)
    inputs = [points(3, 2).requires_grad_(), points(3, 1).requires_grad_()]
    assert torch.autograd.gradcheck(lambda x, u: gp.conditional(x, u)[:2], inputs)


def test_beliefs_in_single_precision_come_out_in_it() -> None:
    gp: GaussianProcessWorldModel = small_gp(3, 1)
    gp.dtype = torch.float32
    at = gp.conditional(points(4, 3).float(), points(4, 1).float())
    assert at.mean.dtype == at.var.dtype == torch.float32


@pytest.mark.parametrize("width", [1, 8, 33, 150])
def test_a_row_of_a_padded_product_does_not_depend_on_its_place(width: int) -> None:
    rows, matrix = points(32, width).expand(3, 32, width), points(3 * width, width)
    matrix = padded(matrix.view(3, width, width), -1, -2)
    order = torch.randperm(32, generator=torch.manual_seed(0))
    product = padded(rows, -1) @ matrix
    assert torch.equal(padded(rows[:, order], -1) @ matrix, product[:, order])
    torch.testing.assert_close(product[..., :width], rows @ matrix[:, :width, :width])
