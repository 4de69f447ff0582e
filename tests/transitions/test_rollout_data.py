"""``--data real.h5``: a real run that ``imagine evaluate --record`` wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch

from imagine_cli import InputError, fit_world_model, run_rollout
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.real import run_real, write_real
from imagine_cli.files.digest import sha256_of
from imagine_cli.policies import make_policy
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.probe import probing
from imagine_cli.transitions.join import join
from imagine_cli.transitions.reader import read_recordings


def _record(env_id: str, path: Path, *, steps: int = 30, trajectories: int = 6) -> Path:
    env = make_env(env_id)
    about = describe(env)
    policy = make_policy("random", about, seed=1)
    run = run_real(env, about, policy, steps=steps, trajectories=trajectories, seed=1)
    write_real(run, path, about, policy="random", seed=1, command="a test")
    env.close()
    return path


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_it_reads_the_steps_that_the_env_took(env_id: str, tmp_path: Path) -> None:
    (recording,) = read_recordings([_record(env_id, tmp_path / "real.h5")])
    env = gymnasium.make(env_id)
    about = describe(env)
    found = join([recording], about, reward=True)
    assert (recording.env_id, recording.env_kwargs) == (env_id, {})
    steps = np.bincount(found.episode)
    assert len(steps) == 6
    assert (steps.max() == 30) if env_id == "Pendulum-v1" else (steps < 30).any()
    # Where the physics alone decides: each transition again from its own observation.
    simulator = env.unwrapped
    for row in range(len(found)):
        env.reset()
        if env_id == "CartPole-v1":
            simulator.state = found.observations[row].copy()  # type: ignore[attr-defined]
        else:
            x, y, speed = found.observations[row]
            simulator.state = np.array([np.arctan2(y, x), speed])  # type: ignore[attr-defined]
        following, reward, *_ = env.step(about.decode_action(found.actions[row]))
        # The observation is the state rounded to float32, 1e-7 of numbers up to 8.
        np.testing.assert_allclose(found.next_observations[row], following, atol=3e-6)
        np.testing.assert_allclose(found.rewards[row], reward, atol=1e-4)


def test_a_model_of_it_says_what_it_was_fitted_to(tmp_path: Path) -> None:
    path = _record("Pendulum-v1", tmp_path / "real.h5")
    fitted = fit_world_model(data=path, kind="linear", reward=True)
    assert fitted.metadata["data"] == [
        {"path": str(path), "format": "rollout", "sha256": sha256_of(path), "transitions": 180,
         "episodes": 6}
    ]  # fmt: skip
    assert (fitted.metadata["env"], fitted.env.id) == ("Pendulum-v1", "Pendulum-v1")
    assert (fitted.metadata["steps"], fitted.metadata["episodes"]) == (180, 6)
    assert "policy" not in fitted.metadata
    assert fitted.metadata["command"] == (
        f"imagine fit --data {path} --kind linear --seed 0 --held-out 0.2 --reward"
    )


def test_several_files_are_one_set_of_episodes(tmp_path: Path) -> None:
    whole = _record("Pendulum-v1", tmp_path / "whole.h5")
    other = _record("Pendulum-v1", tmp_path / "other.h5", steps=20, trajectories=3)
    both = fit_world_model(data=[whole, other], kind="linear").metadata
    assert (both["steps"], both["episodes"], len(both["data"])) == (240, 9, 2)
    first = fit_world_model(data=[whole, other], kind="linear", steps=180)
    alone = fit_world_model(data=whole, kind="linear")
    one, same = first.model.state_dict(), alone.model.state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    with pytest.raises(InputError, match="have 240 transitions and --steps asks for 300"):
        fit_world_model(data=[whole, other], kind="linear", steps=300)
    (tmp_path / "copy.h5").write_bytes(whole.read_bytes())
    with pytest.raises(InputError, match="copy.h5 holds the same as .*whole.h5; give it once"):
        fit_world_model(data=[whole, tmp_path / "copy.h5"], kind="linear")


def test_imagined_rollouts_are_refused(tmp_path: Path) -> None:
    samples = Path(__file__).parents[2] / "sample_models"
    path = tmp_path / "imagined.h5"
    run_rollout("Pendulum-v1", samples / "pendulum-gp.pt", steps=20, trajectories=4, output=path)
    with pytest.raises(InputError, match="is an imagined rollout"):
        fit_world_model(data=path, kind="linear")
    # and also where the file has forgotten by which model
    with h5py.File(path, "r+") as file:
        file.attrs["model_sha256"] = ""
    with pytest.raises(InputError, match="is an imagined rollout"):
        fit_world_model(data=path, kind="linear")
    # but what is certain and by no model is real
    with h5py.File(path, "r+") as file:
        file["observation/var"][...] = 0.0
    assert fit_world_model(data=path, kind="linear").metadata["steps"] == 80


def test_a_file_and_an_env_that_do_not_agree(tmp_path: Path) -> None:
    path = _record("Pendulum-v1", tmp_path / "real.h5")
    with pytest.raises(InputError, match="real.h5 is of Pendulum-v1, not of CartPole-v1"):
        fit_world_model("CartPole-v1", data=path, kind="linear")
    with pytest.raises(InputError, match="--policy acts in the real env"):
        fit_world_model(data=path, kind="linear", policy="random")
    cartpole = _record("CartPole-v1", tmp_path / "cart.h5")
    with pytest.raises(InputError, match="cart.h5 is of CartPole-v1, not of Pendulum-v1"):
        fit_world_model(data=[path, cartpole], kind="linear")
    with h5py.File(path, "r+") as file:
        file.attrs["env_id"] = "antigravity:Pendulum-v1"
    with pytest.raises(InputError, match="real.h5 names a module to import, 'antigravity:Pend"):
        fit_world_model(data=path, kind="linear")
    assert "antigravity" not in sys.modules
    with h5py.File(path, "r+") as file:
        del file.attrs["env_id"]
    with pytest.raises(InputError, match="does not say of which env it is; give --env"):
        fit_world_model(data=path, kind="linear")
    with h5py.File(path, "r+") as file:
        del file["reward"]
    with pytest.raises(InputError, match="real.h5 has no rewards; leave out --reward"):
        fit_world_model("Pendulum-v1", data=path, kind="linear", reward=True)
    assert fit_world_model("Pendulum-v1", data=path, kind="linear").metadata["steps"] == 180


def test_the_envs_arguments_are_those_of_the_file_unless_given(tmp_path: Path) -> None:
    path = _record("Pendulum-v1", tmp_path / "real.h5")
    moon = _record("Pendulum-v1", tmp_path / "moon.h5", trajectories=5)
    with h5py.File(moon, "r+") as file:
        file.attrs["env_kwargs"] = '{"g": 1.6}'
    assert fit_world_model(data=moon, kind="linear").env.kwargs == {"g": 1.6}
    with pytest.raises(InputError, match="with different arguments"):
        fit_world_model(data=[path, moon], kind="linear")
    both = fit_world_model(data=[path, moon], kind="linear", env_kwargs={"g": 5.0})
    assert both.env.kwargs == {"g": 5.0}


def test_what_is_no_data_at_all(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not data")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    for name, said in (
        ("missing.h5", "there is no file"),
        ("notes.txt", "none of what can be read"),
        ("other.h5", "no column that is known as observation and none as action"),
        (".", "none of what can be read"),
    ):
        with pytest.raises(InputError, match=said):
            fit_world_model("Pendulum-v1", data=tmp_path / name, kind="linear")
    with pytest.raises(InputError, match="there are no data to fit to"):
        fit_world_model("Pendulum-v1", data=[], kind="linear")
    short = _record("Pendulum-v1", tmp_path / "short.h5", steps=7, trajectories=7)
    with pytest.raises(InputError, match="have 49 transitions, and a fit needs 50 or more"):
        fit_world_model(data=short, kind="linear")


def test_a_file_that_crashes_the_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record("Pendulum-v1", tmp_path / "real.h5")
    parent, opened = os.getpid(), []

    def crash(file: Path) -> None:
        opened.append(file)
        if os.getpid() != parent:
            os.abort()

    monkeypatch.setattr(safe_hdf5, "open_file", crash)
    with probing(), pytest.raises(InputError, match="the HDF5 library crashes on it"):
        read_recordings([path])
    assert not opened, "this process opened it"
