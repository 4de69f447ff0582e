"""Fitting the GP world model as a whole: calibration, determinism, coverage of fresh steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.fitting import Fitted, Transitions, collect, fit_world_model, score_world_model
from imagine_cli.fitting.calibration import variance_factors
from imagine_cli.fitting.gaussian_process import fit
from imagine_cli.fitting.one_step import marginals, scores_document
from imagine_cli.fitting.split import Split, split
from imagine_cli.policies import make_policy
from imagine_cli.progress import Silent
from imagine_cli.scores import QUANTILES
from imagine_cli.seeds import Stream, derived_seed
from imagine_cli.world_models import GaussianProcessWorldModel

SMALL: dict[str, Any] = {"steps": 400, "points": 40, "restarts": 1}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_world_model("Pendulum-v1", **SMALL)


def _random(env_id: str, steps: int, seed: int) -> Transitions:
    env = make_env(env_id)
    return collect(env, make_policy("random", describe(env), seed=seed), steps=steps, seed=seed)


def _noisy(n: int, seed: int) -> Transitions:
    """x' = x + (sin x0 + u, 0) + noise of 0.1 and 0: the second number never changes."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.0, 2.0, (n, 2)) * [1.0, 0.0] + [0.0, 4.0]
    u = rng.uniform(-1.0, 1.0, (n, 1))
    change = np.hstack([np.sin(x[:, :1]) + u + 0.1 * rng.standard_normal((n, 1)), np.zeros((n, 1))])
    return Transitions(x, u, x + change, np.zeros(n), np.arange(n))


def test_the_metadata_say_how_it_was_made(fitted: Fitted) -> None:
    about = fitted.metadata
    assert fitted.env.id == about["env"] == "Pendulum-v1"
    assert about["points"] == 40 == len(fitted.model.inputs)
    assert (about["kind"], about["policy"], about["seed"], about["steps"]) == (
        "gp", "random", 0, 400,
    )  # fmt: skip
    assert about["episodes"] == 2
    assert about["command"].startswith("imagine fit --env Pendulum-v1 --kind gp --steps 400 ")
    assert len(about["log_marginal_likelihoods"]) == 3
    assert np.shape(about["hyperparameters"]["lengthscales"]) == (3, 4)
    assert about["held_out_scores"]["observation_names"] == fitted.env.observation_names
    parts = about["held_out_scores"], about["calibration"]
    assert [part["transitions"] for part in parts] == [80, 80]
    assert about["training_transitions"] == 240
    assert {"torch", "gpytorch", "botorch", "gymnasium"} <= set(about["versions"])


def test_the_reported_scores_are_the_model_s_on_the_third_part(fitted: Fitted) -> None:
    parts = split(_random("Pendulum-v1", 400, derived_seed(0, Stream.FIT)), 0.2, 0)
    found = scores_document(score_world_model(fitted.model, parts.held_out))
    # The two sum in another order, on Gram matrices of condition 1e9.
    for key in ("rmse", "nll", "coverage_95"):
        # Two ways to a variance, of a Gram matrix whose condition number is up to 1e12.
        np.testing.assert_allclose(found[key], fitted.metadata["held_out_scores"][key], rtol=1e-5)
    trained = {row.tobytes() for row in parts.training.inputs}
    points = fitted.model.inputs.numpy()
    assert {row.tobytes() for row in points} <= trained


def test_two_fits_are_identical_to_the_bit_whatever_the_threads(fitted: Fitted) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    try:
        again = fit_world_model("Pendulum-v1", **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    state = again.model.state_dict()
    assert state.keys() == fitted.model.state_dict().keys()
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    volatile = {"created", "duration_seconds"}
    same = [{k: v for k, v in f.metadata.items() if k not in volatile} for f in (fitted, again)]
    assert same[0] == same[1]


@pytest.fixture(scope="module")
def noisy() -> tuple[Split, Any]:
    data = Split(_noisy(150, 0), _noisy(3000, 1), _noisy(3000, 2))
    return data, fit(data, points=60, restarts=1, seed=0, progress=Silent())


def test_the_faster_predictions_are_the_model_s(noisy: tuple[Split, Any]) -> None:
    data, found = noisy
    some = data.held_out[:50]
    mean, var = marginals(found.model, some)
    exact = found.model.predict(
        point(torch.as_tensor(some.observations)), ActionBelief(torch.as_tensor(some.actions))
    )
    np.testing.assert_allclose(mean, exact.mean.numpy(), rtol=1e-11)
    np.testing.assert_allclose(var, exact.var.diagonal(dim1=-2, dim2=-1).numpy(), rtol=1e-8)


def test_calibration_sets_the_mean_squared_residual_to_one(noisy: tuple[Split, Any]) -> None:
    """With Gaussian noise the bounds on coverage don't bind, and c is the likeliest factor."""
    data, found = noisy
    mean, var = marginals(found.model, data.calibration)
    residual = (data.calibration.next_observations - mean) ** 2 / var
    assert residual[:, 0].mean() == pytest.approx(1.0, rel=1e-9)


def test_calibration_changes_no_mean(noisy: tuple[Split, Any]) -> None:
    data, found = noisy
    model, before = found.model, found.summary["calibration"]["before"]
    raw = GaussianProcessWorldModel.from_hyperparameters(
        model.inputs, model.targets, model.lengthscales,
        before["signal_variances"], before["noise_variances"],
    )  # fmt: skip
    x = point(torch.as_tensor(data.held_out.observations[:20]))
    u = ActionBelief(torch.as_tensor(data.held_out.actions[:20]))
    one, other = model.predict(x, u), raw.predict(x, u)
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-11, atol=0.0)
    factors = torch.as_tensor(found.summary["calibration"]["variance_factors"])
    diagonal = [p.var.diagonal(dim1=-2, dim2=-1) for p in (one, other)]
    torch.testing.assert_close(diagonal[0], factors * diagonal[1], rtol=1e-8, atol=0.0)


def test_the_noise_that_is_there_is_found_and_covered(noisy: tuple[Split, Any]) -> None:
    data, found = noisy
    assert found.summary["hyperparameters"]["noise_sd"][0] == pytest.approx(0.1, rel=0.15)
    mean, var = marginals(found.model, data.held_out)
    covered = np.abs(data.held_out.next_observations - mean) <= QUANTILES[95] * np.sqrt(var)
    # Three standard errors each of the calibration's and of the held-out share.
    assert covered[:, 0].mean() == pytest.approx(0.95, abs=6 * np.sqrt(0.95 * 0.05 / 3000))


def test_a_number_that_never_changes_stays_where_it_is(noisy: tuple[Split, Any]) -> None:
    data, found = noisy
    mean, var = marginals(found.model, data.held_out)
    np.testing.assert_array_equal(mean[:, 1], 4.0)
    assert (var[:, 1] > 0).all()
    assert (var[:, 1] < 1e-10).all()
    assert found.summary["calibration"]["variance_factors"][1] == 1.0
    assert found.summary["log_marginal_likelihoods"][1] is None


@pytest.mark.parametrize(
    ("part", "low", "high", "covered"),
    [
        (0.01, 90.0, 110.0, 0.96),  # a few so far off that the mean square would cover 99 %
        (0.09, 2.5, 3.5, 0.94),  # so many somewhat off that it would cover 91 %
        (0.0, 0.0, 0.0, None),  # Gaussian: nothing to bound
    ],
)
def test_the_calibrated_interval_covers_94_to_96_percent(
    part: float, low: float, high: float, covered: float | None
) -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    error = rng.standard_normal(n) if covered is None else rng.uniform(-1.0, 1.0, n)
    far = np.arange(n) < part * n
    error[far] = rng.uniform(low, high, far.sum())
    (factor,) = variance_factors(np.zeros((n, 1)), np.ones((n, 1)), error[:, None])
    likeliest = np.mean(error**2)
    if covered is None:
        assert factor == pytest.approx(likeliest, rel=1e-12)
        return
    assert not 0.94 <= np.mean(error**2 <= QUANTILES[95] ** 2 * likeliest) <= 0.96
    assert np.mean(error**2 <= QUANTILES[95] ** 2 * factor) == pytest.approx(covered, abs=1.1 / n)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 49}, "steps must be 50 or more, not 49"),
        ({"points": 1}, "points must be 2 or more, not 1"),
        ({"restarts": 0}, "restarts must be 1 or more, not 0"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"held_out": 0.5}, "at most 0.4, not 0.5"),
        ({"kind": "crystal ball"}, "no kind of world model 'crystal ball'"),
        ({"policy": "drunk"}, "no policy 'drunk'"),
        ({"env_kwargs": {"nonsense": 1}}, "can't be made"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_before_the_env_runs(
    arguments: dict[str, Any], said: str
) -> None:
    class Watch(Silent):
        def stage(self, name: str, total: int | None = None) -> None:
            raise AssertionError("work began")

    with pytest.raises(InputError, match=said):
        fit_world_model("Pendulum-v1", **{**SMALL, **arguments}, progress=Watch())


def test_progress_hears_of_every_part() -> None:
    heard: list[Any] = []

    class Listen:
        def stage(self, name: str, total: int | None = None) -> None:
            heard.append([name, total, 0])

        def advance(self, n: int = 1, note: str = "") -> None:
            heard[-1][2] += n

        def finish(self) -> None:
            heard.append("finish")

    fit_world_model("CartPole-v1", steps=100, points=20, restarts=1, progress=Listen())
    assert heard == [
        ["running the env", 100, 100],
        ["fitting dimensions", 4, 4],
        ["scoring steps ahead", 5, 5],
        "finish",
    ]


@pytest.mark.long
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_a_default_fit_covers_90_to_99_percent_of_fresh_steps(env_id: str) -> None:
    found = fit_world_model(env_id, seed=11)
    scores = score_world_model(found.model, _random(env_id, 2500, seed=987654))
    coverage, rmse = scores.marginal["coverage95"], scores.marginal["rmse"]
    assert 0.90 <= coverage.mean() <= 0.99
    assert ((coverage >= 0.88) & (coverage <= 0.995)).all(), coverage
    change = _random(env_id, 2500, seed=987654).differences.std(axis=0)
    assert (rmse < 0.05 * change).all(), rmse / change
