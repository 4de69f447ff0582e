"""Functions drawn from GPs: their moments, and that each is one function.

Mean and covariance of the draws are exactly the posterior's, so that the tests of them have no
tolerance but four standard errors, and nothing of the package computes what is wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.world_models import GaussianProcessWorldModel, SparseGPWorldModel
from imagine_cli.world_models.gp.base import GPWorldModel
from imagine_cli.world_models.gp.pathwise import Waves, draw, evaluate
from tests.helpers.gp_models import random_model
from tests.helpers.sparse_gps import random_sparse

COUNT = 20_000


def make(kind: str) -> tuple[GPWorldModel, GaussianProcessWorldModel]:
    """A model of two outputs and one action, and the GP with its data."""
    if kind == "gp":
        whole = random_model(0, 2, 1, 15, units=False, noise=(1e-4, 1e-2))
        return whole, whole
    jitter = {"sparse": 0.0, "sparse, jitter": 0.05}[kind]
    return random_sparse(1, 2, 1, points=8, n=60, units=False, jitter=jitter)


def posterior(
    model: GPWorldModel, whole: GaussianProcessWorldModel, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(D, Q)`` and covariance ``(D, Q, Q)`` of the difference's function at ``(Q, E)``."""
    means, covariances = [], []
    x, y = whole.inputs.numpy(), whole.targets.numpy()
    for a in range(y.shape[1]):
        ell, signal = model.lengthscales[a].numpy(), float(model.signal_variances[a])
        noise = float(model.noise_variances[a])

        def kernel(
            one: np.ndarray, other: np.ndarray, ell: np.ndarray = ell, signal: float = signal
        ) -> np.ndarray:
            return signal * np.exp(-0.5 * np.square((one[:, None] - other) / ell).sum(-1))

        if isinstance(model, SparseGPWorldModel):
            z = model.inducing_points.numpy()
            inner = kernel(z, z) + model.jitter * signal * np.eye(len(z))
            cross, new = kernel(z, x), kernel(z, at)
            sigma = np.linalg.inv(inner + cross @ cross.T / noise)
            weights, known = sigma @ cross @ y[:, a] / noise, np.linalg.inv(inner) - sigma
        else:
            new = kernel(x, at)
            known = np.linalg.inv(kernel(x, x) + noise * np.eye(len(x)))
            weights = known @ y[:, a]
        means.append(new.T @ weights)
        covariances.append(kernel(at, at) - new.T @ known @ new)
    return np.stack(means), np.stack(covariances)


@pytest.mark.parametrize("kind", ["gp", "sparse", "sparse, jitter"])
def test_mean_and_covariance_are_the_posteriors(kind: str) -> None:
    model, whole = make(kind)
    model.process_noise = False
    g = torch.Generator().manual_seed(3)
    # at a datum, near others, close to each other, far from everything
    near = whole.inputs[:2] + 0.3 * torch.randn(2, 3, generator=g, dtype=torch.float64)
    places = torch.cat([whole.inputs[:1], near, near[:1] + 0.2, torch.full((1, 3), 9.0).double()])
    count = len(places)
    seeds = torch.arange(COUNT) + 12345
    points = places.repeat(COUNT, 1)
    at = model.conditional(points[:, :2], points[:, 2:], seeds.repeat_interleave(count))
    assert not at.var.any()
    values = (at.mean - points[:, :2]).view(COUNT, count, 2)
    mean, covariance = posterior(model, whole, places.numpy())
    centred = values.numpy() - mean.T
    error = centred.mean(0)
    assert (np.abs(error) < 4 * centred.std(0) / COUNT**0.5).all()
    for a in range(2):
        for b in range(2):
            terms = centred[:, :, None, a] * centred[:, None, :, b]
            wanted = covariance[a] if a == b else 0.0
            assert (np.abs(terms.mean(0) - wanted) < 4 * terms.std(0) / COUNT**0.5).all(), (a, b)
    # and the draws are close to Gaussian: of 64 waves each, a kurtosis of 3 within a half
    kurtosis = (centred**4).mean(0) / (centred**2).mean(0) ** 2
    assert (np.abs(kurtosis - 3.0) < 0.5).all()


def test_without_noise_every_function_goes_through_the_data() -> None:
    whole = random_model(2, 2, 1, 8, units=False)
    given = {name: getattr(whole, name) for name in whole.data}
    given["noise_variances"] = torch.zeros(2)
    model = GaussianProcessWorldModel.from_hyperparameters(**given)
    x, u = whole.inputs[:, :2], whole.inputs[:, 2:]
    away = []
    for seed in range(5):
        at = model.conditional(x, u, torch.full((8,), seed))
        torch.testing.assert_close(at.mean - x, whole.targets, rtol=1e-9, atol=1e-9)
        away.append(model.conditional(x + 1.0, u, torch.full((8,), seed)).mean)
    assert torch.stack(away).std(0).min() > 1e-3


@pytest.mark.parametrize("kind", ["gp", "sparse"])
def test_a_number_is_one_function_whatever_is_asked_beside_it(kind: str) -> None:
    model, _ = make(kind)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(100, 2, generator=g, dtype=torch.float64)
    u = torch.randn(100, 1, generator=g, dtype=torch.float64)
    member = torch.randint(2**62, (100,), generator=g)
    member[50:60] = member[:10]
    together = model.conditional(x, u, member).mean
    assert len(together.unique()) == 200
    for rows in (slice(0, 1), slice(13, 20), slice(31, 64), slice(50, 60), slice(99, 100)):
        assert torch.equal(model.conditional(x[rows], u[rows], member[rows]).mean, together[rows])
    order = torch.randperm(100, generator=g)
    assert torch.equal(model.conditional(x[order], u[order], member[order]).mean, together[order])
    # the same function at the same place, asked again after others
    again = model.conditional(x[:10], u[:10], member[50:60]).mean
    assert torch.equal(again, together[:10])
    shaped = model.conditional(x.view(4, 25, 2), u.view(4, 25, 1), member.view(4, 25)).mean
    assert torch.equal(shaped, together.view(4, 25, 2))
    # and another process makes the same function of the same number
    fresh = type(model).from_config(model.config(), model.state_dict())
    assert torch.equal(fresh.conditional(x, u, member).mean, together)


def test_the_noise_of_the_process_is_all_that_is_left_of_the_variance() -> None:
    model, _ = make("gp")
    x, u, member = torch.zeros(3, 2).double(), torch.zeros(3, 1).double(), torch.arange(3)
    at = model.conditional(x, u, member)
    assert torch.equal(at.var, model.noise_variances.expand(3, 2))
    assert at.is_diagonal
    model.dtype = torch.float32
    assert model.conditional(x.float(), u.float(), member).mean.dtype == torch.float32


def test_it_is_differentiable_in_the_point() -> None:
    model, _ = make("gp")
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    u = torch.randn(3, 1, dtype=torch.float64, generator=torch.manual_seed(1)).requires_grad_()
    member = torch.tensor([5, 6, 5])
    assert torch.autograd.gradcheck(lambda x, u: model.conditional(x, u, member).mean, (x, u))


def test_a_function_is_waves_and_an_update_by_the_formula() -> None:
    """Function by function and output by output in numpy, from the numbers that were drawn."""
    model, _ = make("gp")
    given = model.posterior
    functions = draw(given, torch.tensor([3, 4]))
    points = torch.randn(2, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    found = evaluate(functions, torch.tensor([1, 0]), given, points)
    omega, amplitude, phase = (part.numpy() for part in functions.waves)
    for row, which in ((0, 1), (1, 0)):
        x = points[row].numpy()
        for a in range(2):
            angle = x @ omega[which, :, a] - phase[which, a]
            prior = (amplitude[which, a] * np.cos(angle)).sum()
            distance = (given.inputs.numpy() - x) / model.lengthscales[a].numpy()
            kernel = float(model.signal_variances[a]) * np.exp(-0.5 * (distance**2).sum(1))
            wanted = prior + kernel @ functions.update[which, a].numpy()
            assert found[row, a].item() == pytest.approx(wanted, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("size", [1, 4, 23])
def test_the_waves_have_the_kernels_covariance(size: int) -> None:
    """Where data say nothing; the frequencies come from Student's t, and weights make up for it."""
    whole = GaussianProcessWorldModel.from_hyperparameters(
        np.full((1, size), 1e3), [[0.0]], np.linspace(0.5, 2.0, size)[None], [1.7], [1.0]
    )
    waves: Waves = draw(whole.posterior, torch.arange(COUNT)).waves
    g = np.random.default_rng(0)
    step = g.normal(size=(4, size)) * np.array([0.0, 0.3, 1.0, 2.0])[:, None] / size**0.5
    places = torch.tensor(g.normal(size=size) + step)
    values = waves.at(places.mT.expand(COUNT, -1, -1))[:, 0].numpy()
    scaled = step / np.linspace(0.5, 2.0, size)
    wanted = 1.7 * np.exp(-0.5 * np.square(scaled[:, None] - scaled).sum(-1))
    terms = values[:, :, None] * values[:, None]
    assert (np.abs(terms.mean(0) - wanted) < 4 * terms.std(0) / COUNT**0.5).all()


def test_what_is_kept_of_the_last_draw_follows_a_cast() -> None:
    model: Any = make("gp")[0]
    x, u, member = torch.zeros(3, 2).double(), torch.zeros(3, 1).double(), torch.arange(3)
    double = model.conditional(x, u, member).mean
    single = model.to(torch.float32).conditional(x, u, member).mean
    torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-3)
    assert not torch.equal(single, double)


@pytest.mark.parametrize("drawn", [True, False])
def test_with_derivatives_it_is_the_same_function(drawn: bool) -> None:
    """Then points are computed in one, by matrix products: not to the bit, but to rounding."""
    model, _ = make("gp")
    g = torch.Generator().manual_seed(0)
    x = 3.0 * torch.randn(70, 2, generator=g, dtype=torch.float64)
    u = torch.randn(70, 1, generator=g, dtype=torch.float64)
    member = torch.arange(70) if drawn else None
    at = model.conditional(x, u, member)
    again = model.conditional(x.clone().requires_grad_(), u, member)
    torch.testing.assert_close(again.mean.detach(), at.mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(again.var.detach(), at.var, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["gp", "sparse"])
def test_functions_that_are_known_are_the_ones_that_would_be_drawn(kind: str) -> None:
    given = make(kind)[0].posterior
    known = torch.tensor([1, 4, 9, 20])
    for seeds in ([4, 20], [0, 1, 4, 7, 30], [1, 4, 9, 20], [2, 3]):
        new = torch.tensor(seeds)
        again = draw(given, new, (known, draw(given, known)))
        expected = draw(given, new)
        pairs = zip((*again.waves, again.update), (*expected.waves, expected.update), strict=True)
        for part, other in pairs:
            assert torch.equal(part, other)
