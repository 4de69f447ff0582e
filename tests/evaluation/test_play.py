"""A policy in the real env: its returns and lengths are the env's own."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from imagine_cli import InputError, load_world_model, open_rollout, play_policy
from imagine_cli.cli import main
from imagine_cli.environments import reset_seed
from imagine_cli.evaluation.intervals import mean_and_error
from imagine_cli.evaluation.real import evaluation_seed

SAMPLES = Path(__file__).parents[2] / "sample_models"


def by_hand(env_id: str, action: object, episodes: int, seed: int) -> list[tuple[float, int]]:
    env = gymnasium.make(env_id)
    found = []
    for k in range(episodes):
        env.reset(seed=reset_seed(evaluation_seed(seed), k))
        total, steps, ended = 0.0, 0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(action)
            total, steps, ended = total + float(reward), steps + 1, terminated or truncated
        found.append((total, steps))
    return found


def test_returns_and_lengths_are_the_envs() -> None:
    played = play_policy("CartPole-v1", "constant:1", trajectories=6, seed=3)
    expected = by_hand("CartPole-v1", 1, 6, 3)
    assert played.returns.tolist() == [total for total, _ in expected]
    assert played.lengths.tolist() == [steps for _, steps in expected]
    assert len(set(played.lengths.tolist())) > 1
    assert played.steps == 500
    assert played.imagined is None


def test_a_good_model_imagines_the_real_return(tmp_path: Path) -> None:
    model = load_world_model(SAMPLES / "pendulum-gp.pt")
    real = tmp_path / "real.h5"
    played = play_policy(
        "Pendulum-v1", "zero", trajectories=4, steps=20, model=model, record=real, seed=1
    )
    assert played.imagined is not None
    # As far as the model is wrong: the same rewards of the real observations agree to 1e-6.
    np.testing.assert_allclose(played.imagined, played.returns, rtol=5e-3)
    with open_rollout(real) as rollout:
        assert rollout.attributes["real"]
        np.testing.assert_allclose(rollout.reward_mean().sum(1), played.returns, rtol=1e-12)


def test_imagined_returns_stop_where_the_envs_rule_ends_them() -> None:
    """One reward a step, and a push that tips every pole: the return is the length."""
    model = load_world_model(SAMPLES / "cartpole-gp.pt")
    played = play_policy("CartPole-v1", "constant:1", trajectories=5, steps=30, model=model)
    assert played.imagined is not None
    assert played.lengths.max() < 30
    assert np.abs(played.imagined - played.returns).max() <= 1


def test_the_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(1.96 * values.std(ddof=1) / 20)
    assert np.isnan(mean_and_error(values[:1])[1])


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["play", "--env", "Pendulum-v1", "--policy", "zero", "-n", "3", "--steps", "5"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["real_steps"] == 15
    assert found["length"]["each"] == [5, 5, 5]
    assert "imagined_return" not in found
    assert main([*arguments, "-q"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "3 episodes of Pendulum-v1 by zero"
    assert f"{found['return']['mean']:.6g}" in out[1]
    record = str(tmp_path / "real.h5")
    assert main([*arguments, "-q", "--record", record]) == 0
    assert main([*arguments, "-q", "--record", record]) == 2
    assert "exists; give --force" in capsys.readouterr().err


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="and there is no --model"):
        play_policy("Pendulum-v1", "zero", reward="env", trajectories=1)
    with pytest.raises(InputError, match="--trajectories is 0"):
        play_policy("Pendulum-v1", "zero", trajectories=0)
