from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import InputError, fit_world_model, open_rollout
from imagine_cli.checkpoint import read_checkpoint
from imagine_cli.cli import main
from imagine_cli.fitting import gather
from imagine_cli.fitting.ensemble import fit
from imagine_cli.fitting.split import Split
from imagine_cli.progress import Silent
from imagine_cli.transitions.transitions import Transitions

SMALL: dict[str, Any] = {"members": 3, "elites": 2, "hidden": 32, "layers": 2, "patience": 5}


def noisy(count: int, seed: int) -> Transitions:
    """x' = x + sin(2 x) + u + noise, whose standard deviation is 0.05 left of 0 and 0.3 right."""
    g = np.random.default_rng(seed)
    x, u = g.uniform(-2, 2, size=(count, 1)), g.uniform(-1, 1, size=(count, 1))
    noise = g.normal(size=(count, 1)) * np.where(x < 0, 0.05, 0.3)
    rewards = (x * u)[:, 0] + 0.1 * g.normal(size=count)
    return Transitions(x, u, x + np.sin(2 * x) + u + noise, rewards, np.zeros(count, int))


def test_it_finds_the_function_and_where_the_noise_is() -> None:
    data = Split(noisy(3000, 0), noisy(500, 1), noisy(100, 2))
    fitted = fit(
        data, reward=True, seed=0, progress=Silent(), epochs=150, **{**SMALL, "patience": 20}
    )
    model = fitted.model
    x = torch.linspace(-1.8, 1.8, 50, dtype=torch.float64).unsqueeze(-1)
    u = torch.linspace(1.0, -1.0, 50, dtype=torch.float64).unsqueeze(-1)
    at = model.conditional(x, u)
    assert at.reward_mean is not None
    assert (at.mean - (x + torch.sin(2 * x) + u)).abs().max() < 0.15
    assert (at.reward_mean - (x * u)[:, 0]).abs().max() < 0.1
    sd = at.var.sqrt()
    quiet, loud = sd[x < -0.3], sd[x > 0.3]
    assert abs(float(quiet.mean()) / 0.05 - 1) < 0.3
    assert abs(float(loud.mean()) / 0.3 - 1) < 0.3
    validation = fitted.summary["training"]["validation_losses"]
    assert sorted(model.elites.tolist()) == sorted(np.argsort(validation)[:2].tolist())


@pytest.mark.long
def test_few_transitions_are_fitted_closely() -> None:
    """By batches of 256 the same networks err by 0.6 after as many epochs."""

    def exact(count: int, seed: int) -> Transitions:
        g = np.random.default_rng(seed)
        x, u = g.uniform(-2, 2, size=(count, 1)), g.uniform(-1, 1, size=(count, 1))
        return Transitions(x, u, x + np.sin(2 * x) + u, np.zeros(count), np.zeros(count, int))

    data = Split(exact(200, 0), exact(40, 1), exact(40, 2))
    patient = {**SMALL, "epochs": 200, "patience": 200}
    model = fit(data, reward=False, seed=0, progress=Silent(), **patient).model
    test = exact(100, 3)
    at = model.conditional(torch.from_numpy(test.observations), torch.from_numpy(test.actions))
    assert (at.mean.numpy() - test.next_observations).std() < 0.15


def test_it_stops_when_nothing_gets_better_and_keeps_the_best() -> None:
    g = np.random.default_rng(0)

    def chance(count: int) -> Transitions:  # nothing to learn, much to remember
        x, u = g.normal(size=(count, 1)), g.normal(size=(count, 1))
        return Transitions(x, u, x + g.normal(size=(count, 1)), x[:, 0], np.zeros(count, int))

    data = Split(chance(300), chance(1000), chance(10))
    about = fit(
        data,
        reward=False,
        seed=0,
        progress=Silent(),
        epochs=2000,
        **{**SMALL, "patience": 40, "hidden": 128},
    ).summary["training"]
    assert about["epochs"] < 1000
    losses = about["mixture_validation_losses"]
    # Those kept are of the best epoch, and the networks are worse than their mixture.
    assert 0.0 < np.mean(about["validation_losses"]) - min(losses) < 0.05
    assert losses[-1] > min(losses)
    assert about["losses"][-1] < about["losses"][0]


def test_the_same_seed_gives_the_same_model_to_the_bit() -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        fitted = fit_world_model(
            "Pendulum-v1", kind="ensemble", steps=200, seed=seed, epochs=3, **SMALL
        )
        found: dict[str, torch.Tensor] = fitted.model.state_dict()
        return found

    first, again, other = state(0), state(0), state(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["weight0"], other["weight0"])


def test_more_elites_than_members_are_refused_before_the_env_takes_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gather, "run", None)
    with pytest.raises(InputError, match="elites must be 2 or less"):
        fit_world_model("Pendulum-v1", kind="ensemble", steps=100, members=2)
    with pytest.raises(InputError, match="layers must be 1 or more, not 0"):
        fit_world_model("Pendulum-v1", kind="ensemble", steps=100, layers=0)


def test_from_fit_to_rollout_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wm, out = str(tmp_path / "wm.pt"), str(tmp_path / "r.h5")
    words = ["--members", "3", "--elites", "2", "--hidden", "16", "--layers", "1", "--epochs", "2"]
    fitting = ["fit", "--env", "Pendulum-v1", "--kind", "ensemble", "--reward", "--steps", "200"]
    assert main([*fitting, *words, "-o", wm]) == 0
    said, heard = capsys.readouterr()
    assert [line.split()[0] for line in said.splitlines()[2:7]] == [
        "cos(theta)", "sin(theta)", "theta_dot", "all", "reward",
    ]  # fmt: skip
    assert "training: 2 of 2" in heard
    assert "validation" in heard
    assert read_checkpoint(wm).metadata["command"] == (
        "imagine fit --env Pendulum-v1 --kind ensemble --steps 200 --members 3 --elites 2 "
        "--hidden 16 --layers 1 --epochs 2 --patience 10 --policy random --seed 0 --held-out 0.2 "
        f"--reward --output {wm}"
    )
    assert main(["inspect", wm]) == 0
    assert "particles (the default), linearized, unscented" in capsys.readouterr().out
    rolling = ["rollout", "--env", "Pendulum-v1", "--model", wm, "--steps", "4", "-n", "2"]
    how = ["--propagation", "particles", "--particles", "8", "--members", "random"]
    assert main([*rolling, *how, "--save-particles", "-o", out]) == 0
    with open_rollout(out) as rollout:
        assert rollout.propagation == "particles(particles=8, members=random)"
        assert rollout.particles().shape == (2, 8, 5, 3)
        assert np.isfinite(rollout.reward_mean()).all()
        assert (rollout.reward_var() > 0).all()
    capsys.readouterr()
    assert main([*rolling, "--propagation", "moments", "-f", "-o", out]) == 2
    assert "use linearized, unscented, particles" in capsys.readouterr().err
    assert main([*rolling, "--propagation", "unscented", "--particles", "8", "-f", "-o", out]) == 2
    assert "particles belongs to another propagation" in capsys.readouterr().err
