"""Moment matching against sampling, quadrature and textbook formulas: nothing of it is used."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel
from tests.helpers.gp_models import match, random_belief, random_model, smooth_model


def posterior(model: GaussianProcessWorldModel, points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each output at ``(P, E)`` points, by scipy."""
    x, y = model.inputs.numpy(), model.targets.numpy()
    means, variances = [], []
    for a in range(y.shape[1]):
        scaled, new = (
            x / model.lengthscales[a].numpy(),
            points.numpy() / model.lengthscales[a].numpy(),
        )
        signal = model.signal_variances[a].item()
        gram = signal * np.exp(-0.5 * ((scaled[:, None] - scaled[None]) ** 2).sum(-1))
        cross = signal * np.exp(-0.5 * ((new[:, None] - scaled[None]) ** 2).sum(-1))
        noisy = gram + model.noise_variances[a].item() * np.eye(len(x))
        solved = scipy.linalg.solve(noisy, np.c_[y[:, a], cross.T], assume_a="pos")
        means.append(cross @ solved[:, 0])
        variances.append(signal - (cross * solved[:, 1:].T).sum(1))
    return torch.tensor(np.array(means)).mT, torch.tensor(np.array(variances)).mT


def check_by_sampling(seed: int, outputs: int, actions: int, size: float, count: int) -> None:
    model = random_model(seed, outputs, actions, 12, units=False)
    belief, action = random_belief(model, seed, size, action="policy")
    x = joint(belief, action)
    g = np.random.default_rng(seed)
    points = torch.tensor(g.multivariate_normal(x.mean.numpy(), x.var.numpy(), count))
    mean, variance = posterior(model, points)
    delta = mean + variance.sqrt() * torch.tensor(g.standard_normal(mean.shape))
    noise = model.noise_variances.sqrt() * torch.tensor(g.standard_normal(mean.shape))
    following = points[:, :outputs] + delta + noise

    found_mean, found_var, gain = match(model, belief, action)
    check_moments(delta, found_mean, found_var)
    found = model.predict(belief, action)
    check_moments(following, found.mean, found.var)
    terms = (points - x.mean).unsqueeze(-1) * (delta - found_mean).unsqueeze(-2)
    error = terms.mean(0) - x.var @ gain
    assert (error.abs() < 4.0 * terms.std(0) / count**0.5).all()


def check_moments(samples: Tensor, mean: Tensor, var: Tensor) -> None:
    """Within four standard errors, each entry with its own."""
    count = len(samples)
    assert ((samples.mean(0) - mean).abs() < 4.0 * samples.std(0) / count**0.5).all()
    centred = samples - mean
    terms = centred.unsqueeze(-1) * centred.unsqueeze(-2)
    assert ((terms.mean(0) - var).abs() < 4.0 * terms.std(0) / count**0.5).all()


@pytest.mark.parametrize("size", [0.03, 1.0])
@pytest.mark.parametrize(("outputs", "actions"), [(1, 1), (2, 1), (3, 2)])
def test_sampling_agrees(outputs: int, actions: int, size: float) -> None:
    check_by_sampling(outputs, outputs, actions, size, 100_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_samples_agree(seed: int) -> None:
    check_by_sampling(seed, 3, 1, 0.5, 1_000_000)


@pytest.mark.parametrize("signal_to_noise", [30.0, 1e3])
def test_quadrature_agrees(signal_to_noise: float) -> None:
    """Uncertain along one direction: 80 Gauss-Hermite nodes are exact to rounding.

    150 points, more than the multiple-precision reference can take. The posterior variance that
    is averaged is of the size of the noise variance, six digits below the signal variance.
    """
    model = smooth_model(1, 2, 1, 150, signal_to_noise)
    direction = torch.tensor([0.3, -0.2], dtype=torch.float64)
    belief = Belief(torch.tensor([0.2, 0.4], dtype=torch.float64), direction[:, None] * direction)
    action = ActionBelief(torch.tensor([-0.3], dtype=torch.float64))
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weights = torch.tensor(weight / weight.sum())
    points = torch.zeros(80, 3, dtype=torch.float64) + torch.cat([belief.mean, action.mean])
    points[:, :2] += torch.tensor(node)[:, None] * direction
    means, variances = posterior(model, points)
    wanted_mean = weights @ means
    centred = means - wanted_mean
    wanted_var = (weights[:, None] * centred).mT @ centred + torch.diag(weights @ variances)
    mean, var, _ = match(model, belief, action)
    assert (mean - wanted_mean).abs().max() < 1e-10
    scale = wanted_var.diagonal().sqrt()
    # The weights of the sums are of the order of signal-to-noise squared.
    tolerance = max(1e-10, 2.0**-53 * 150 * signal_to_noise**2)
    assert ((var - wanted_var).abs() < tolerance * scale * scale[:, None]).all()


@pytest.mark.parametrize(
    ("outputs", "actions", "n"), [(1, 0, 1), (1, 1, 6), (3, 1, 30), (4, 2, 80)]
)
def test_a_certain_input_gives_the_posterior(outputs: int, actions: int, n: int) -> None:
    model = random_model(n, outputs, actions, n)
    belief, action = random_belief(model, n, 0.0)
    mean, variance = posterior(model, torch.cat([belief.mean, action.mean]).unsqueeze(0))
    found_mean, found_var, gain = match(model, belief, action)
    unit = model.signal_variances
    assert ((found_mean - mean[0]).abs() < 1e-11 * unit.sqrt()).all()
    assert ((found_var - torch.diag(variance[0])).abs() < 1e-11 * unit).all()
    assert torch.equal(found_var, torch.diag(found_var.diagonal()))
    next_ = model.predict(belief, action)
    assert torch.equal(next_.mean, belief.mean + found_mean)
    assert torch.equal(next_.var, torch.diag(found_var.diagonal() + model.noise_variances))

    # V is then the slope of the posterior mean.
    point = torch.cat([belief.mean, action.mean])
    for k in range(outputs + actions):
        step = 1e-5 * model.lengthscales[:, k].min()
        ends = point.repeat(2, 1)
        ends[:, k] += torch.tensor([-1.0, 1.0], dtype=torch.float64) * step
        low, high = posterior(model, ends)[0]
        slope = (high - low) / (2 * step)
        assert ((gain[k] - slope).abs() < 1e-7 * unit.sqrt() / model.lengthscales[:, k]).all()


@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 100.0])
def test_one_training_point(size: float) -> None:
    """n = 1, D = E = 1: everything by hand. β = y / (α² + σ²), q a Gaussian in the distance."""
    x, y, ell, signal, noise, mean = 0.7, -1.3, 0.8, 2.0, 0.1, 0.2
    model = GaussianProcessWorldModel.from_hyperparameters(
        [[x]], [[y]], [[ell]], [signal], [noise], process_noise=False
    )
    var = size
    beta = y / (signal + noise)
    q = signal * (1 + var / ell**2) ** -0.5 * np.exp(-0.5 * (x - mean) ** 2 / (var + ell**2))
    square = signal**2 * (1 + 2 * var / ell**2) ** -0.5  # E[k(x, x̃)²]
    square *= np.exp(-((x - mean) ** 2) / (2 * var + ell**2))
    wanted_mean = beta * q
    wanted_var = beta**2 * (square - q * q) + signal - square / (signal + noise)
    slope = beta * q * (x - mean) / (var + ell**2)
    double = {"dtype": torch.float64}
    belief = Belief(torch.tensor([mean], **double), torch.tensor([[var]], **double))
    action = ActionBelief(torch.zeros(0, dtype=torch.float64))
    found = [part.item() for part in match(model, belief, action)]
    assert found == pytest.approx([wanted_mean, wanted_var, slope], rel=1e-13, abs=0.0)
    next_ = model.predict(belief, action)
    assert next_.var.item() == pytest.approx(var + wanted_var + 2 * var * slope, rel=1e-13)


@pytest.mark.parametrize("long", [1e2, 1e3])
def test_long_lengthscales_are_linear(long: float) -> None:
    """With length-scales L the GP is linear up to O(1/L²): Δ = A x̃ + b gives A Σ̃ Aᵀ and Σ̃ Aᵀ.

    Targets are exactly linear; the signal variance L² gives the slopes a prior variance of 1, and
    30 points with noise variance 1e-4 pin them down to 1e-5. The bound is 100 / L².
    """
    g = torch.Generator().manual_seed(0)
    slope = torch.tensor([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6]], dtype=torch.float64)
    inputs = torch.randn(30, 3, generator=g, dtype=torch.float64)
    model = GaussianProcessWorldModel.from_hyperparameters(
        inputs,
        inputs @ slope.mT,
        torch.full((2, 3), long),
        torch.full((2,), long**2),
        torch.full((2,), 1e-4),
        process_noise=False,
    )
    belief, action = random_belief(random_model(0, 2, 1, 3, units=False), 5, 0.3, action="policy")
    x = joint(belief, action)
    mean, var, gain = match(model, belief, action)
    bound = 100.0 / long**2
    assert (mean - slope @ x.mean).abs().max() < bound
    assert (gain - slope.mT).abs().max() < bound
    wanted = slope @ x.var @ slope.mT
    assert (var - torch.diag(posterior_variance(model, x)) - wanted).abs().max() < bound
    moved = torch.eye(2, 3, dtype=torch.float64) + slope
    next_ = model.predict(belief, action).var - torch.diag(posterior_variance(model, x))
    assert (next_ - moved @ x.var @ moved.mT).abs().max() < bound


def posterior_variance(model: GaussianProcessWorldModel, x: Belief) -> Tensor:
    """At the mean: the linear GP's own uncertainty, which is small here."""
    return posterior(model, x.mean.unsqueeze(0))[1][0]
