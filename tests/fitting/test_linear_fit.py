from __future__ import annotations

import numpy as np
import pytest
import torch

from imagine_cli import InputError, fit_world_model
from imagine_cli.fitting.linear_gaussian import fit, regress
from imagine_cli.fitting.one_step import marginals
from imagine_cli.fitting.split import Split
from imagine_cli.progress import Silent
from imagine_cli.transitions.transitions import Transitions
from tests.helpers.linear_systems import linear_model


def transitions(count: int, *, noise: float, seed: int = 0) -> Transitions:
    """Of a known linear system with its reward; ``noise`` scales what is random."""
    model = linear_model(3, 2)
    g = np.random.default_rng(seed)
    x, u = g.normal(size=(count, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 0.0], g.normal(size=(count, 2))
    at = model.conditional(torch.tensor(x), torch.tensor(u))
    assert at.reward_mean is not None
    deviation = g.multivariate_normal(np.zeros(3), model.noise_covariance.numpy(), size=count)
    rewards = at.reward_mean.numpy() + noise * g.normal(size=count) * 0.3**0.5
    return Transitions(x, u, at.mean.numpy() + noise * deviation, rewards, np.zeros(count, int))


def test_without_noise_it_finds_the_system() -> None:
    wanted = linear_model(3, 2)
    data = Split(*(transitions(100, noise=0.0, seed=k) for k in range(3)))
    model = fit(data, reward=True, seed=0, progress=Silent()).model
    for name in ("transition", "control", "offset", "reward_weights", "reward_offset"):
        found, true = getattr(model, name), getattr(wanted, name)
        torch.testing.assert_close(found, true, rtol=1e-10, atol=1e-11)
    assert model.noise_covariance.abs().max() < 1e-20


def test_with_noise_it_finds_the_noise() -> None:
    wanted = linear_model(3, 2)
    data = Split(*(transitions(10_000, noise=1.0, seed=k) for k in range(3)))
    fitted = fit(data, reward=True, seed=0, progress=Silent())
    model, count = fitted.model, 20_000
    truth = wanted.noise_covariance
    variances = truth.diagonal()
    error = ((variances[:, None] * variances + truth**2) / count).sqrt()
    assert ((model.noise_covariance - truth).abs() < 4 * error).all()
    assert abs(float(model.reward_variance) - 0.3) < 4 * 0.3 * (2 / count) ** 0.5
    # the marginals that are scored are the model's
    mean, var = marginals(fitted.model, data.held_out)
    at = model.conditional(
        torch.tensor(data.held_out.observations), torch.tensor(data.held_out.actions)
    )
    assert np.array_equal(mean, at.mean.numpy())
    assert np.array_equal(var, np.tile(model.noise_covariance.diagonal().numpy(), (len(mean), 1)))


def test_the_ridge_is_that_of_the_normal_equations() -> None:
    g = np.random.default_rng(0)
    inputs, offset = g.normal(size=(120, 40)) * g.uniform(0.1, 9, 40), g.normal(size=3)
    targets = inputs @ (0.05 * g.normal(size=(40, 3))) + offset + 3.0 * g.normal(size=(120, 3))
    found = regress(inputs, targets, 60)
    assert found.ridge > 0
    centre, unit = inputs.mean(0), inputs.std(0)
    x = (inputs - centre) / unit
    gram = x.T @ x
    inverse = np.linalg.inv(gram + 120 * found.ridge * np.eye(40))
    weights = inverse @ x.T @ (targets - targets.mean(0)) / unit[:, None]
    np.testing.assert_allclose(found.weights, weights.T, rtol=1e-9)
    residuals = targets - inputs @ found.weights.T - found.offset
    freedom = 120 - 1 - np.trace(gram @ inverse)
    np.testing.assert_allclose(found.covariance, residuals.T @ residuals / freedom, rtol=1e-9)
    assert regress(inputs[:, :1], targets, 100).ridge == 0


def test_a_system_that_grows_without_bound_is_told() -> None:
    data = Split(*(transitions(40, noise=0.0, seed=k) for k in range(3)))
    for part in (data.training, data.calibration):
        part.next_observations[:] = 1.5 * part.observations
    with pytest.warns(UserWarning, match=r"grows 3.3e\+03-fold in 20 steps \(an eigenvalue of 1.5"):
        fit(data, reward=False, seed=0, progress=Silent())


def test_predictions_that_leave_the_data_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagine_cli.fitting.world_model._DIVERGED", 0.1)
    with pytest.warns(UserWarning, match="at step 1 the error of .* times its standard dev"):
        fit_world_model("Pendulum-v1", kind="linear", steps=2000)


def test_one_hot_actions_have_one_answer() -> None:
    fitted = fit_world_model("CartPole-v1", kind="linear", steps=400, reward=True)
    scores = fitted.metadata["held_out_scores"]
    assert max(scores["rmse"]) < 0.02
    assert scores["reward"]["rmse"] < 1e-12  # always 1
    assert fitted.metadata["rank"] == 6  # D + F + 1, less one: the codes add up to 1
    assert fitted.model.control.abs().max() < 1.0
    assert "--kind linear --steps 400" in fitted.metadata["command"]
    assert fitted.metadata["command"].endswith("--held-out 0.2 --reward")


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="points is no option of the kind 'linear'"):
        fit_world_model("Pendulum-v1", kind="linear", points=10)
    with pytest.raises(InputError, match="members is no option of the kind 'gp'; it takes points"):
        fit_world_model("Pendulum-v1", kind="gp", members=3)
    with pytest.raises(InputError, match="'gp' has no reward"):
        fit_world_model("Pendulum-v1", kind="gp", reward=True)
