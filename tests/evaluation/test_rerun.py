from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from imagine_cli import InputError, rerun_rollout, run_rollout, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, kwargs_named, make_env
from imagine_cli.recording import shard
from tests.helpers.linear_systems import linear_model
from tests.helpers.rollout_files import numbers, write
from tests.helpers.worlds import small_gp

WAYS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "everything": {
        "steps": 9, "trajectories": 5, "policy": "actions.npy", "seed": 2**70,
        "start": "start.npz", "propagation": "particles", "particles": 11, "resample": True,
        "save_particles": True, "dtype": "float32", "env_kwargs": {"g": 9.0},
    },
    "masked": {"policy": "zero", "start": "belief", "on_nonfinite": "mask", "steps": 3},
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_world_model(linear_model(3, 1), "wm.pt", env=describe(make_env("Pendulum-v1")))
    np.save("actions.npy", np.linspace(-1, 1, 12)[:, None])
    np.savez("start.npz", mean=np.array([1.0, 0, 0]), var=0.1 * np.eye(3))
    return tmp_path


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_comes_out_the_same_whatever_is_computed_together(
    here: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", **way)
    monkeypatch.setattr(shard, "_BATCH", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = rerun_rollout("r.h5")
    finally:
        torch.set_num_threads(threads)
    assert found.same
    assert found.notes == []
    assert sorted(os.listdir()) == ["actions.npy", "r.h5", "start.npz", "wm.pt"]


def test_the_command_keeps_it_and_sees_a_difference(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=4, trajectories=2)
    assert main(["rerun", "r.h5", "-o", "again.h5", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    with h5py.File("r.h5") as one, h5py.File("again.h5") as other:
        assert np.array_equal(one["observation/var"][()], other["observation/var"][()])
        arguments = one.attrs["arguments"]
        assert arguments == other.attrs["arguments"]
    with h5py.File("r.h5", "r+") as file:
        file["observation/mean"][1, 3, 2] += 1e-12
    assert main(["rerun", "r.h5"]) == 1
    out = capsys.readouterr().out
    assert "observation/mean: 1 of 30 numbers differ; first at step 3 of trajectory 1" in out


def test_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "elsewhere").mkdir()
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", policy="actions.npy", steps=3)
    monkeypatch.chdir(here / "elsewhere")
    assert rerun_rollout("../r.h5").same


def test_a_module_is_given_again(here: Path) -> None:
    model = small_gp(3, 1)
    run_rollout("Pendulum-v1", model, output="r.h5", steps=3, propagation="unscented")
    with pytest.raises(InputError, match="a model that is no file"):
        rerun_rollout("r.h5")
    assert rerun_rollout("r.h5", model=model).same
    assert not rerun_rollout("r.h5", model=small_gp(3, 1, seed=1)).same


def test_what_is_not_what_it_was_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", policy="actions.npy", steps=3)
    os.rename("wm.pt", "moved.pt")
    np.save("actions.npy", np.zeros((12, 1)))
    write(Path("other.h5"), numbers(2, 5))
    for arguments, sentence in [
        (["r.h5"], "the model wm.pt of r.h5 is not there; say where with --model"),
        (["r.h5", "--model", "moved.pt"], "actions.npy is not what r.h5 was made with"),
        (["r.h5", "--model", "actions.npy"], "actions.npy is not the model that r.h5 was made"),
        (["r.h5", "-o", "r.h5", "--force", "--model", "moved.pt"], "actions.npy is not what"),
        (["r.h5", "--env", "CartPole-v1", "--model", "moved.pt"], "is of Pendulum-v1, not of Cart"),
        (["other.h5"], "can't be run again: it is made by something else"),
        (["none.h5"], "there is no file none.h5"),
    ]:
        assert main(["rerun", *arguments, "-q"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("imagine: error: ")
        assert err.count("\n") == 1
        assert sentence in err


@pytest.mark.parametrize(
    ("attribute", "value", "sentence"),
    [
        ("arguments", "{", "does not say how it was made: Expecting"),
        ("arguments", "[]", "does not say how it was made: not a JSON object"),
        ("arguments", "{}", "does not say how it was made: no env"),
        ("complete", False, "is incomplete; go on with it first"),
        ("files_sha256", "3", "files_sha256 is not a JSON object"),
        ("files_sha256", "[" * 3000, "files_sha256 is not a JSON object"),
        ("arguments", ["a", "b"], "can't be run again: it is made by something else"),
        ("format", [1, 2], "not a rollout: its attribute 'format' is missing"),
    ],
)
def test_files_by_strangers(here: Path, attribute: str, value: Any, sentence: str) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3)
    with h5py.File("r.h5", "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(InputError, match=sentence):
        rerun_rollout("r.h5")


def change(path: str, **arguments: Any) -> None:
    with h5py.File(path, "r+") as file:
        said = {**json.loads(file.attrs["arguments"]), **arguments}
        file.attrs["arguments"] = json.dumps(said)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"env": "evil:Pendulum-v1"}, "if that may run, give --env evil:Pendulum-v1"),
        ({"reward": "evil:reward"}, "if that may run, give --reward evil:reward"),
    ],
)
def test_a_file_cannot_have_a_module_imported(
    here: Path, arguments: dict[str, Any], sentence: str
) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3)
    Path("evil.py").write_text("open('ran', 'w')")
    change("r.h5", **arguments)
    with pytest.raises(InputError, match=sentence):
        rerun_rollout("r.h5")
    assert not Path("ran").exists()


def test_a_reward_of_a_module_is_run_again_when_the_user_says_so(here: Path) -> None:
    Path("mine.py").write_text("def reward(x, u, x_next):\n    return -(x_next**2).sum(-1)\n")
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3, reward="mine:reward")
    assert rerun_rollout("r.h5", reward="mine:reward").same
    with pytest.raises(InputError, match="was made with the reward 'mine:reward', not 'env'"):
        rerun_rollout("r.h5", reward="env")


@pytest.mark.parametrize("name", ["policy", "start"])
def test_a_file_cannot_have_another_opened(here: Path, name: str) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3)
    os.mkfifo("pipe.csv")  # whoever opens it waits for ever
    Path("secret.csv").write_text("root:x:0:0")
    for path in ("pipe.csv", "secret.csv"):
        change("r.h5", **{name: path})
        with pytest.raises(InputError, match=r"names the file '\w+.csv' and not its SHA-256"):
            rerun_rollout("r.h5")


def test_a_model_is_opened_by_its_digest_or_by_the_user_alone(here: Path) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3)
    os.mkfifo("pipe.pt")
    with h5py.File("r.h5", "r+") as file:
        file.attrs["model_path"] = "pipe.pt"
    with pytest.raises(InputError, match="is not a regular file"):
        rerun_rollout("r.h5")
    with h5py.File("r.h5", "r+") as file:
        file.attrs["model_path"] = "wm.pt"
        del file.attrs["model_sha256"]
    with pytest.raises(InputError, match="has no SHA-256 of its model wm.pt; if that may be"):
        rerun_rollout("r.h5")
    assert rerun_rollout("r.h5", model="wm.pt").same


def test_what_a_file_says_of_its_env_opens_nothing(here: Path) -> None:
    run_rollout("Pendulum-v1", "wm.pt", output="r.h5", steps=3)
    for value in ("/etc/passwd", "passwd.xml", ".", "~", {"a": ["x\\y.xml"]}, "wm.pt"):
        change("r.h5", env_kwargs={"xml_file": value})
        with pytest.raises(InputError, match="if that may be opened, give --env-kwarg xml_file="):
            rerun_rollout("r.h5")
    assert kwargs_named({"map": "4x4", "g": 9.8}, "r.h5", None) == {"map": "4x4", "g": 9.8}
    assert kwargs_named({"a": "b.xml", "g": 1}, "r.h5", {"a": "c.xml"}) == {"a": "c.xml", "g": 1}
