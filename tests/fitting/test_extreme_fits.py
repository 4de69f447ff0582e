"""Data that a fit may stumble over: each is fitted, with numbers that are right, or refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from imagine_cli import ImagineError, InputError, fit_world_model
from imagine_cli.cli import main
from imagine_cli.fitting.kinds import Fit, settle
from imagine_cli.fitting.one_step import score_reward, score_world_model
from imagine_cli.fitting.split import split
from imagine_cli.progress import Silent
from imagine_cli.registry import FITS
from imagine_cli.transitions.transitions import Transitions

KINDS = {
    "linear": {},
    "gp": {"points": 30, "restarts": 1},
    "ensemble": {"members": 2, "elites": 2, "hidden": 8, "layers": 1, "epochs": 3},
}


def data(name: str, count: int = 60, size: int = 2) -> Transitions:
    g = np.random.default_rng(0)
    x, u = g.normal(size=(count, size)), g.normal(size=(count, 1))
    y = x + 0.1 * np.sin(x @ g.normal(size=(size, size))) + 0.1 * u @ g.normal(size=(1, size))
    rewards = g.normal(size=count)
    if name == "still":
        y, rewards = x.copy(), np.zeros(count)
    elif name == "the same difference":
        y = x + 0.25
    elif name == "one transition, repeated":
        x[:], u[:], y[:], rewards[:] = x[0], u[0], y[0], 1.0
    elif name == "one point, many outcomes":
        x[:], u[:] = x[0], u[0]
    elif name == "one dimension constant":
        x[:, 0] = y[:, 0] = 3.0
    elif name == "one dimension zero":
        x[:, 0] = y[:, 0] = 0.0
    elif name == "tiny":
        x, u, y = 1e-8 * x, 1e-8 * u, 1e-8 * y
    elif name == "huge":
        x, u, y = 1e8 * x, 1e8 * u, 1e8 * y
    elif name == "far from zero":
        y = x + 1e8
    return Transitions(x, u, y, rewards, np.arange(count) // 5)


def fitted(kind: str, given: Transitions) -> tuple[Fit, Any]:
    how = FITS.load(kind)
    parts = split(given, 0.2, 0)
    reward = how.MODELS_REWARD
    options = settle(kind, how, reward, KINDS[kind])
    found = how.fit(parts, reward=reward, seed=0, progress=Silent(), **options)
    scores = score_world_model(found.model, parts.held_out)
    if reward:
        assert np.isfinite(score_reward(found.model, parts.held_out).marginal["nll"]).all()
    return found, scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        # The largest error that a fit may make, in units of the data's own spread.
        ("normal", 1.0),
        ("still", 0.1),
        ("the same difference", 0.1),
        ("one transition, repeated", 1e-3),
        ("one point, many outcomes", 2.0),
        ("one dimension constant", 1.0),
        ("one dimension zero", 1.0),
        ("tiny", 1.0),
        ("huge", 1.0),
        ("far from zero", None),
    ],
)
def test_hard_data_gives_finite_scores(kind: str, name: str, error: float | None) -> None:
    given = data(name)
    _, scores = fitted(kind, given)
    assert np.isfinite(scores.marginal["nll"]).all(), scores.marginal["nll"]
    if error is not None:
        spread = np.maximum(given.next_observations.std(axis=0), 1e-9)
        if "repeated" in name or "constant" in name or "zero" in name:
            spread = np.maximum(spread, 1.0)
        assert (scores.marginal["rmse"] <= error * spread).all(), scores.marginal["rmse"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "size"), [(15, 1), (15, 2), (15, 8)])
def test_few_transitions_and_one_dimension(kind: str, count: int, size: int) -> None:
    _, scores = fitted(kind, data("normal", count, size))
    assert np.isfinite([scores.marginal["rmse"], scores.marginal["nll"]]).all()


def test_a_linear_model_is_no_more_certain_than_rounding() -> None:
    given = data("still")
    found, _ = fitted("linear", given)
    sd = found.model.noise_covariance.diagonal().sqrt().numpy()
    # As much as the largest number's last digit, and hardly more.
    parts = split(given, 0.2, 0)
    seen = np.concatenate([parts.training.next_observations, parts.calibration.next_observations])
    np.testing.assert_allclose(sd, np.finfo(float).eps * np.abs(seen).max(axis=0), rtol=1e-6)


class Odd(gymnasium.Env[np.ndarray, np.ndarray]):
    """Two numbers, of which the second one goes wrong in the way asked for."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, way: str = "still") -> None:
        self.way, self.count = way, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2), {}

    def step(self, action: np.ndarray) -> Any:
        self.count += 1
        number = {"still": 0.0, "nan": np.nan, "enormous": 1e200}[self.way]
        second = number if self.count == 3 else 0.0
        return np.array([0.0, second]), 0.0, False, self.count == 10, {}


gymnasium.register("ImagineOdd-v0", Odd)


@pytest.mark.parametrize("kind", KINDS)
def test_an_env_where_nothing_happens(kind: str) -> None:
    found = fit_world_model("ImagineOdd-v0", kind=kind, steps=60, **KINDS[kind])
    scores = found.metadata["held_out_scores"]
    assert np.isfinite([scores["rmse"], scores["nll"]]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_env_that_goes_wrong(
    kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    with pytest.raises(ImagineError, match="not finite at step 3 of episode 0"):
        fit_world_model("ImagineOdd-v0", env_kwargs={"way": "nan"}, kind=kind, steps=60)
    sentence = r"is 1e\+200 at step 2 of episode 0, and numbers beyond 1e\+75 can't be fitted to"
    with pytest.raises(InputError, match=sentence):
        fit_world_model("ImagineOdd-v0", env_kwargs={"way": "enormous"}, kind=kind, steps=60)
    output = tmp_path / "wm.pt"
    odd = ["--env", "ImagineOdd-v0", "--env-kwarg", "way=enormous", "--steps", "60"]
    assert main(["fit", *odd, "--kind", kind, "-o", str(output)]) == 2
    assert "x1 is 1e+200 at step 2 of episode 0" in capsys.readouterr().err
    assert not output.exists()
