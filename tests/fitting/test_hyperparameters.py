"""Hyperparameters by marginal likelihood: against gpytorch's posterior, scipy and known truths."""

from __future__ import annotations

import sys
from dataclasses import astuple

import gpytorch
import numpy as np
import pytest
import torch
from scipy import stats

from imagine_cli.belief import ActionBelief, point
from imagine_cli.errors import MissingExtraError
from imagine_cli.fitting import gaussian_process
from imagine_cli.fitting.hyperparameters import (
    NOISE_FLOOR,
    Hyperparameters,
    _model,
    fit_hyperparameters,
)
from imagine_cli.fitting.kinds import settle
from imagine_cli.fitting.split import scales
from imagine_cli.world_models import GaussianProcessWorldModel


def _fit(inputs: np.ndarray, target: np.ndarray, starts: int = 1, seed: int = 0) -> Hyperparameters:
    sequence = np.random.SeedSequence(seed)
    return fit_hyperparameters(inputs, target, starts=starts, seed=sequence)


def _gram(inputs: np.ndarray, of: Hyperparameters) -> np.ndarray:
    scaled = inputs / of.lengthscales
    squared = ((scaled[:, None] - scaled[None]) ** 2).sum(-1)
    return of.signal_variance * np.exp(-0.5 * squared) + of.noise_variance * np.eye(len(inputs))


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Noisy, in awkward units, far from the origin, with an input that never changes."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 4)) * [1.0, 250.0, 1e-3, 0.0] + [5.0, -900.0, 0.2, 0.1]
    target = 40.0 * np.sin(inputs[:, 0]) + 0.1 * inputs[:, 1] + 4.0 * rng.standard_normal(60)
    return inputs, target


def test_in_raw_units_it_predicts_what_gpytorch_does_on_the_standardised_data(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    inputs, target = data
    found = _fit(inputs, target)
    x_scale, y_scale = scales(inputs), np.sqrt(np.mean(target**2))
    model, _ = _model(torch.as_tensor(inputs / x_scale), torch.as_tensor(target / y_scale))
    model.covar_module.base_kernel.lengthscale = torch.as_tensor(found.lengthscales / x_scale)
    model.covar_module.outputscale = found.signal_variance / y_scale**2
    model.likelihood.noise = found.noise_variance / y_scale**2
    model.eval()

    ours = GaussianProcessWorldModel.from_hyperparameters(
        inputs=inputs,
        targets=target[:, None],
        lengthscales=found.lengthscales[None],
        signal_variances=[found.signal_variance],
        noise_variances=[found.noise_variance],
    )
    rng = np.random.default_rng(1)
    at = inputs[:20] + 0.3 * x_scale * rng.standard_normal((20, 4))
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        theirs = model.likelihood(model(torch.as_tensor(at / x_scale)))
        mine = ours.predict(
            point(torch.as_tensor(at[:, :1])), ActionBelief(torch.as_tensor(at[:, 1:]))
        )
    np.testing.assert_allclose(
        mine.mean[:, 0].numpy() - at[:, 0], y_scale * theirs.mean.numpy(), atol=1e-10 * y_scale
    )
    np.testing.assert_allclose(mine.var[:, 0, 0], y_scale**2 * theirs.variance.numpy(), rtol=1e-10)


def test_the_log_marginal_likelihood_is_that_of_the_raw_data(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    inputs, target = data
    found = _fit(inputs, target)
    expected = stats.multivariate_normal(np.zeros(60), _gram(inputs, found)).logpdf(target)
    assert found.log_marginal_likelihood == pytest.approx(expected, rel=1e-11)


def _objective(inputs: np.ndarray, target: np.ndarray, of: Hyperparameters) -> float:
    """Log likelihood and log prior of the length-scales, by scipy."""
    n, size = inputs.shape
    likelihood = stats.multivariate_normal(np.zeros(n), _gram(inputs, of)).logpdf(target)
    prior = stats.lognorm(s=np.sqrt(3.0), scale=np.exp(np.sqrt(2.0) + 0.5 * np.log(size)))
    return float(likelihood + prior.logpdf(of.lengthscales / scales(inputs)).sum())


def test_what_it_finds_is_a_maximum(data: tuple[np.ndarray, np.ndarray]) -> None:
    inputs, target = data
    found = _fit(inputs, target, starts=2)
    at = np.log([*found.lengthscales, found.signal_variance, found.noise_variance])
    step = 1e-4
    for k in range(6):
        move = step * np.eye(6)[k]
        high, low = (
            _objective(
                inputs, target, Hyperparameters(np.exp(z[:4]), np.exp(z[4]), np.exp(z[5]), None)
            )
            for z in (at + move, at - move)
        )
        # L-BFGS stops where the objective of one datum gains less than 1e-9 or so a step.
        assert abs(high - low) / (2 * step) < 0.02, k


def test_the_best_start_wins() -> None:
    """Few data, which may be read as a wave or as noise: the starts end in different maxima."""
    rng = np.random.default_rng(5)
    inputs = rng.uniform(-6.0, 6.0, (15, 1))
    truth = Hyperparameters(np.ones(1), 1.0, 0.01, None)
    target = np.linalg.cholesky(_gram(inputs, truth)) @ rng.standard_normal(15)
    found = [_objective(inputs, target, _fit(inputs, target, starts=s)) for s in range(1, 5)]
    # The starts of a seed begin with those of fewer, so that the best of more is no worse.
    assert (np.diff(found) >= -1e-9).all()
    assert found[-1] > found[0] + 5.0


def test_it_recovers_the_process_that_drew_the_data() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.uniform(-3.0, 3.0, (200, 2)) * [1.0, 50.0]
    truth = Hyperparameters(np.array([0.8, 60.0]), 9.0, 0.04, None)
    target = np.linalg.cholesky(_gram(inputs, truth)) @ rng.standard_normal(200)
    found = _fit(inputs, target)
    np.testing.assert_allclose(found.lengthscales, truth.lengthscales, rtol=0.25)
    assert found.signal_variance == pytest.approx(9.0, rel=0.6)
    assert found.noise_variance == pytest.approx(0.04, rel=0.35)


def test_an_input_without_influence_gets_a_long_length_scale() -> None:
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((80, 2))
    found = _fit(inputs, np.sin(2.0 * inputs[:, 0]) + 0.05 * rng.standard_normal(80))
    assert found.lengthscales[1] > 10.0 * found.lengthscales[0]


def test_data_without_noise_meet_the_floor_and_stay_well_conditioned() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.standard_normal((80, 2))
    target = 0.02 * inputs[:, 1]
    found = _fit(inputs, target)
    floor = NOISE_FLOOR**2 * np.mean(target**2)
    assert found.noise_variance == pytest.approx(floor, rel=1e-9)
    assert found.signal_variance <= 100.0 * np.mean(target**2) * (1 + 1e-9)
    assert np.linalg.cond(_gram(inputs, found)) < 80 * 1e10


def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    one = _fit(*data, starts=2, seed=7)
    torch.rand(3)
    np.random.rand(3)
    again = _fit(*data, starts=2, seed=7)
    for a, b in zip(astuple(one), astuple(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("target", [np.zeros(20), np.full(20, 3.7)])
def test_targets_that_never_change_give_a_sane_model(target: np.ndarray) -> None:
    inputs = np.random.default_rng(5).standard_normal((20, 2)) * [1.0, 10.0]
    found = _fit(inputs, target)
    model = GaussianProcessWorldModel.from_hyperparameters(
        inputs=inputs,
        targets=target[:, None],
        lengthscales=found.lengthscales[None],
        signal_variances=[found.signal_variance],
        noise_variances=[found.noise_variance],
    )
    x = torch.as_tensor(inputs)
    prediction = model.predict(point(x[:, :1]), ActionBelief(x[:, 1:]))
    np.testing.assert_allclose(prediction.mean - x[:, :1], target[:, None], atol=1e-2)
    assert (prediction.var[:, 0, 0] > 0).all()
    assert (prediction.var[:, 0, 0] < 1e-3).all()


@pytest.mark.parametrize("name", ["gpytorch", "botorch"])
def test_without_the_extra_the_sentence_says_what_to_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*pip install 'imagine-cli\[fit\]'"):
        settle("gp", gaussian_process, False, {})
