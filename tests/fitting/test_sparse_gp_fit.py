"""Fitting the sparse GP: the bound that is maximised, determinism, calibration, real steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.fitting import Fitted, Transitions, collect, fit_world_model, score_world_model
from imagine_cli.fitting.inducing import fit_inducing_points
from imagine_cli.fitting.one_step import marginals
from imagine_cli.fitting.sparse_gp import fit
from imagine_cli.fitting.split import Split
from imagine_cli.policies import make_policy
from imagine_cli.progress import Silent
from imagine_cli.scores import QUANTILES
from imagine_cli.world_models import SparseGPWorldModel

SMALL: dict[str, Any] = {"kind": "sparse-gp", "steps": 600, "points": 15}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_world_model("Pendulum-v1", **SMALL)


def _noisy(n: int, seed: int) -> Transitions:
    """x' = x + (sin x0 + u, 0) + noise of 0.1 and 0: the second number never changes."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.0, 2.0, (n, 2)) * [1.0, 0.0] + [0.0, 4.0]
    u = rng.uniform(-1.0, 1.0, (n, 1))
    change = np.hstack([np.sin(x[:, :1]) + u + 0.1 * rng.standard_normal((n, 1)), np.zeros((n, 1))])
    return Transitions(x, u, x + change, np.zeros(n), np.arange(n))


def test_it_is_a_model_of_the_env_with_its_making_in_the_metadata(fitted: Fitted) -> None:
    about, model = fitted.metadata, fitted.model
    assert isinstance(model, SparseGPWorldModel)
    assert about["points"] == 15 == len(model.inducing_points)
    assert about["training_transitions"] == 343
    assert about["command"].startswith("imagine fit --env Pendulum-v1 --kind sparse-gp --steps 600")
    assert len(about["log_likelihood_bounds"]) == 3
    assert 0.85 <= about["held_out_scores"]["overall"]["coverage_95"] <= 1.0
    # 15 points explain nearly all of what changes
    env = make_env("Pendulum-v1")
    policy = make_policy("random", describe(env), seed=9)
    fresh = collect(env, policy, steps=1000, seed=9)
    scores = score_world_model(model, fresh)
    assert (scores.marginal["rmse"] < 0.15 * fresh.differences.std(axis=0)).all()


def test_two_fits_are_identical_to_the_bit_whatever_the_threads(fitted: Fitted) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    try:
        again = fit_world_model("Pendulum-v1", **SMALL)
    finally:
        torch.set_num_threads(threads)
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_the_bound_is_titsias_and_an_optimum() -> None:
    """The number in numpy by the paper's Eq. 9, n x n and all; and nothing near it is better."""
    data = _noisy(200, 0)
    inputs, targets = data.inputs, data.differences
    found = fit_inducing_points(inputs, targets, inputs[:8], seed=np.random.SeedSequence(0))

    def bound(z: np.ndarray, ell: np.ndarray, signal: float, noise: float) -> float:
        def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            return signal * np.exp(-0.5 * np.square((one[:, None] - other) / ell).sum(-1))

        cross = kernel(z, inputs)
        nystrom = cross.T @ np.linalg.solve(kernel(z, z), cross)
        covariance = nystrom + noise * np.eye(len(inputs))
        y = targets[:, 0]
        value = -0.5 * (y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(covariance)[1])
        value -= 0.5 * len(y) * np.log(2 * np.pi)
        return float(value - 0.5 * (signal * len(y) - np.trace(nystrom)) / noise) / len(y)

    best = {
        "z": found.inducing_points, "ell": found.lengthscales[0],
        "signal": found.signal_variances[0], "noise": found.noise_variances[0],
    }  # fmt: skip
    reached = bound(**best)
    # the Gram matrix of the inducing points has a condition number of 2.5e9
    assert found.bounds[0] == pytest.approx(reached, abs=1e-6)
    assert found.bounds[1] is None
    for name, value in best.items():
        for factor in (0.9, 1.1):
            assert bound(**{**best, name: factor * value}) < reached + 1e-4, name
    assert np.sqrt(found.noise_variances[0]) == pytest.approx(0.1, rel=0.15)


def test_calibration_leaves_means_and_scales_variances() -> None:
    data = Split(_noisy(150, 0), _noisy(3000, 1), _noisy(3000, 2))
    heard: list[str] = []

    class Listen(Silent):
        def advance(self, n: int = 1, note: str = "") -> None:
            heard.append(note)

    found = fit(data, points=10, seed=0, progress=Listen())
    assert 0 < len(heard) <= 100
    assert heard[-1].startswith("bound ")
    mean, var = marginals(found.model, data.calibration)
    residual = (data.calibration.next_observations - mean) ** 2 / var
    assert residual[:, 0].mean() == pytest.approx(1.0, rel=1e-6)
    mean, var = marginals(found.model, data.held_out)
    covered = np.abs(data.held_out.next_observations - mean) <= QUANTILES[95] * np.sqrt(var)
    assert covered[:, 0].mean() == pytest.approx(0.95, abs=6 * np.sqrt(0.95 * 0.05 / 3000))
    # the number that never changes stays where it is
    np.testing.assert_array_equal(mean[:, 1], 4.0)
    assert (var[:, 1] > 0).all()
    assert (var[:, 1] < 1e-10).all()
    assert score_world_model(found.model, data.held_out).marginal["rmse"][0] == pytest.approx(
        np.sqrt(np.square(data.held_out.next_observations - mean)[:, 0].mean()), rel=1e-9
    )


def test_what_it_has_no_option_for_is_refused() -> None:
    with pytest.raises(InputError, match="points must be 2 or more"):
        fit_world_model("Pendulum-v1", **{**SMALL, "points": 1})
    with pytest.raises(InputError, match="restarts is no option of the kind 'sparse-gp'"):
        fit_world_model("Pendulum-v1", **SMALL, restarts=2)
    with pytest.raises(InputError, match="has no reward"):
        fit_world_model("Pendulum-v1", **SMALL, reward=True)


@pytest.mark.long
def test_a_fit_to_10_000_steps_beats_a_gp_on_as_many_points() -> None:
    sparse = fit_world_model("Pendulum-v1", kind="sparse-gp", steps=10_000, points=60)
    whole = fit_world_model("Pendulum-v1", kind="gp", steps=10_000, points=60, restarts=1)
    rmse = [np.array(f.metadata["held_out_scores"]["rmse"]) for f in (sparse, whole)]
    assert (rmse[0] < rmse[1]).all(), rmse
    assert 0.9 <= sparse.metadata["held_out_scores"]["overall"]["coverage_95"] <= 0.99
