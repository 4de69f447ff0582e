"""``imagine fit --data`` as it is typed, and what is shown of horizons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imagine_cli.checkpoint import load_world_model, read_checkpoint
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.fitting import collect
from imagine_cli.policies import make_policy


@pytest.fixture
def data(tmp_path: Path) -> Path:
    env = make_env("Pendulum-v1")
    found = collect(env, make_policy("random", describe(env), seed=0), steps=2000)
    path = tmp_path / "run.npz"
    np.savez(
        path,
        observations=found.observations,
        actions=found.actions,
        next_observations=found.next_observations,
        rewards=found.rewards,
    )
    return path


def _fit(*words: str | Path) -> int:
    return main(["fit", "--kind", "linear", *map(str, words)])


def test_it_shows_every_horizon_and_inspect_shows_it_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wm = tmp_path / "wm.pt"
    assert _fit("--env", "Pendulum-v1", "--data", data, "--reward", "-o", wm) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == str(wm)
    assert "400 steps held out" in out
    assert "5 steps ahead, " in out
    assert "20 steps ahead, " in out
    assert out.count("theta_dot") == out.count("reward") == 3
    assert err.splitlines()[0] == "reading the data"
    scores = read_checkpoint(wm).metadata["held_out_scores"]
    assert main(["inspect", str(wm)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    times = scores["horizons"]["ahead"][2]["transitions"]
    assert f"20 steps ahead, {times} times, by moments" in shown
    assert f"npz {data}, 2000 transitions, sha256" in shown
    assert f"theta_dot {scores['horizons']['ahead'][2]['rmse'][2]:.3g}" in shown
    assert main(["inspect", str(wm), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["held_out_scores"] == scores


def test_the_recorded_command_makes_the_same_model_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.pt", tmp_path / "again.pt"
    assert _fit("--env", "Pendulum-v1", "--data", data, "--steps", "1500", "-o", first) == 0
    metadata = read_checkpoint(first).metadata
    assert metadata["steps"] == 1500
    words = metadata["command"].split()
    assert words[:6] == ["imagine", "fit", "--env", "Pendulum-v1", "--data", str(data)]
    assert main([*words[1:-1], str(again), "--quiet"]) == 0
    one, other = load_world_model(first).state_dict(), load_world_model(again).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_horizons_that_are_too_far_are_a_remark(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wm = tmp_path / "wm.pt"
    assert _fit("--env", "Pendulum-v1", "--data", data, "--steps", "300", "-o", wm) == 0
    out, err = capsys.readouterr()
    assert "20 steps ahead" not in out
    remark = "no scores 20 steps ahead: no 20 steps in a row were held out"
    assert err.splitlines()[-1] == remark
    assert main(["inspect", str(wm)]) == 0
    assert remark in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no env: give --env"),
        (["--data", "missing.npz"], "there is no file missing.npz"),
        (["--data", "run.npz"], "run.npz does not say of which env it is; give --env"),
        (["--env", "CartPole-v1", "--data", "run.npz"], "an observation of CartPole-v1 is 4"),
        (["--env", "Pendulum-v1", "--data", "run.npz", "--policy", "zero"], "--policy acts"),
        (["--env", "Pendulum-v1", "--data", "run.npz", "--steps", "3000"], "2000 transitions"),
        (["--env", "Pendulum-v1", "--data", "run.npz", "--data", "run.npz"], "give it once"),
        (["--env", "Pendulum-v1", "--data", "run.npz", "--held-out", "0.5"], "at most 0.4"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    words: list[str],
    said: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(data.parent)
    assert _fit(*words, "-q") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("imagine: error: ")
    assert err.count("\n") == 1
    assert said in err
    assert [path.name for path in data.parent.iterdir()] == ["run.npz"]
