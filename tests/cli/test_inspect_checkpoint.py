from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imagine_cli import save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.policies import LinearPolicy, save_policy
from imagine_cli.world_models import GaussianProcessWorldModel

METADATA = {
    "command": "imagine fit --env Pendulum-v1 --output wm.pt",
    "policy": "random",
    "steps": 200,
    "held_out": 0.2,
    "versions": {"torch": "2.13.0", "gpytorch": "1.15"},
    "hyperparameters": {"restarts": [1, 2]},
    "log_marginal_likelihoods": list(range(20)),
    "held_out_scores": {
        "observation_names": ["cos(theta)", "sin(theta)", "theta_dot"],
        "transitions": 40,
        "rmse": [0.0019, 0.00118, 0.0125],
        "coverage_95": [0.9167, 1.0, 0.95],
        "overall": {"rmse": 0.0073, "coverage_95": 0.956},
    },
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "wm.pt", METADATA)


def save(path: Path, metadata: dict[str, object], env: bool = True) -> Path:
    rng = np.random.default_rng(0)
    ones = torch.ones(3, dtype=torch.float64)
    model = GaussianProcessWorldModel.from_hyperparameters(
        inputs=torch.tensor(rng.normal(size=(12, 4))),
        targets=torch.tensor(rng.normal(size=(12, 3))),
        lengthscales=torch.tensor(rng.uniform(1, 2, size=(3, 4))),
        signal_variances=ones,
        noise_variances=0.01 * ones,
        process_noise=True,
    )
    bounds = np.array([1.0, 1.0, 8.0])
    description = EnvDescription(
        id="Pendulum-v1",
        kwargs={"g": 9.81},
        observation_size=3,
        observation_low=-bounds,
        observation_high=bounds,
        observation_names=["cos(theta)", "sin(theta)", "theta_dot"],
        action_size=1,
        action_low=np.array([-2.0]),
        action_high=np.array([2.0]),
    )
    save_world_model(model, path, env=description if env else None, metadata=metadata)
    return path


def test_it_shows_what_the_model_is_and_how_it_was_fitted(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(checkpoint)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "sizes 3 observations, 1 action, no reward, float64",
        "env Pendulum-v1 g=9.81",
        "observed cos(theta), sin(theta), theta_dot",
        "training points 12",
        "command imagine fit --env Pendulum-v1 --output wm.pt",
        "held out 0.2",
        "versions torch 2.13.0, gpytorch 1.15",
        "log marginal likelihoods [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 8 more]",
        "with --json hyperparameters",
        "RMSE in 95 % interval",
        "cos(theta) 0.00190 91.7%",
        "theta_dot 0.0125 95.0%",
        "all 0.00730 95.6%",
    ):
        assert line in lines


def test_json_has_everything(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "checkpoint"
    assert found["model_kind"] == GaussianProcessWorldModel.kind
    assert (found["observation_size"], found["action_size"]) == (3, 1)
    assert (found["dtype"], found["has_reward"]) == ("float64", False)
    assert found["bytes"] == checkpoint.stat().st_size
    assert found["metadata"] == METADATA
    assert found["env"]["kwargs"] == {"g": 9.81}
    assert found["model"]["training points"] == 12


def test_a_checkpoint_that_says_nothing_of_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "wm.pt", {}, env=False)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.count("not said") == 2
    assert "Fitted" not in out


def test_scores_of_another_form_are_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, scores in enumerate(({"rmse": 0.5}, [0.5, 1], {"observation_names": ["a"]})):
        path = save(tmp_path / f"{number}.pt", {"held_out_scores": scores})
        assert main(["inspect", str(path)]) == 0
        assert "held out, one step ahead" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--csv", "--step=1", "--trajectory=0"])
def test_options_for_rollouts_are_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["inspect", str(checkpoint), option]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{option.split('=')[0]} is for rollouts" in err


def test_a_broken_checkpoint_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"format": "something else"}, tmp_path / "wm.pt")
    assert main(["inspect", str(tmp_path / "wm.pt")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_a_policy_says_its_kind_its_shapes_and_how_it_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "policy.pt")
    metadata = {"reward": "env", "curve": [{"imagined_return": -3.0}, {"imagined_return": -1.5}]}
    policy = LinearPolicy(torch.ones(1, 3), torch.zeros(1), torch.tensor([2.0]))
    save_policy(policy, path, env=describe(make_env("Pendulum-v1")), metadata=metadata)
    assert main(["inspect", path]) == 0
    out = capsys.readouterr().out
    for part in ("linear", "weight (1, 3)", "Pendulum-v1", "Imagined return: -3 to -1.5"):
        assert part in out
    assert main(["inspect", path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "policy"
    assert document["parameters"] == {"weight": [1, 3], "bias": [1]}
    assert document["metadata"] == metadata
    Path(path).write_bytes(Path(path).read_bytes()[:-40])
    assert main(["inspect", path]) == 2
