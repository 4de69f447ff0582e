"""An env of one's own, in a module of the current folder, wherever an env is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imagine_cli import open_rollout
from imagine_cli.checkpoint import read_checkpoint
from imagine_cli.cli import main
from imagine_cli.policies.checkpoint import describe_policy

ENV = "own_envs_here:MyPendulum-v0"

# A wrapped env of Gymnasium, which says of itself that it is Pendulum-v1.
MODULE = """
import gymnasium

class Weak(gymnasium.Wrapper):
    spec = gymnasium.spec("Pendulum-v1")

    def step(self, action):
        return super().step(0.5 * action)

def make(**kwargs):
    return Weak(gymnasium.make("Pendulum-v1", **kwargs))

gymnasium.register("MyPendulum-v0", entry_point=make)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_envs_here.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def run(*words: str) -> None:
    assert main([*words, "--quiet"]) == 0


def test_files_say_the_id_as_it_was_given(folder: Path) -> None:
    run("fit", "--env", ENV, "--kind", "linear", "--steps", "200")
    assert read_checkpoint("wm.pt").env["id"] == ENV
    run("rollout", "--env", ENV, "--model", "wm.pt", "--steps", "3")
    run("evaluate", "--env", ENV, "--model", "wm.pt", "-n", "3", "--steps", "30",
        "--record", "real.h5")  # fmt: skip
    run("play", "--env", ENV, "--policy", "zero", "-n", "2", "--steps", "3", "--record", "play.h5")
    for file in ("rollout.h5", "real.h5", "play.h5"):
        with open_rollout(file) as rollout:
            assert rollout.env_id == ENV
    run("rerun", "rollout.h5", "--env", ENV)
    run("fit", "--data", "real.h5", "--env", ENV, "--kind", "linear", "--output", "again.pt")
    run("optimize", "--env", ENV, "--model", "wm.pt", "--policy", "linear", "--iterations", "1",
        "--reward", "quadratic:target=1,0,0", "--horizon", "2")  # fmt: skip
    assert describe_policy("policy.pt")["env"]["id"] == ENV


def test_a_file_alone_is_no_reason_to_import_a_module(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fit", "--env", ENV, "--kind", "linear", "--steps", "200")
    del sys.modules["own_envs_here"]
    assert main(["rollout", "--model", "wm.pt"]) == 2
    assert f"wm.pt names a module to import, '{ENV}'; if that may run" in capsys.readouterr().err


def test_the_env_may_be_left_out_where_a_file_names_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fit", "--env", "Pendulum-v1", "--env-kwarg", "g=5.0", "--kind", "linear", "--steps", "200")
    run("rollout", "--model", "wm.pt", "--steps", "3")
    with open_rollout("rollout.h5") as rollout:
        assert rollout.env_id == "Pendulum-v1"
        assert rollout.env_kwargs == {"g": 5.0}
    run("evaluate", "--model", "wm.pt", "-n", "2", "--steps", "3", "--record", "real.h5")
    with open_rollout("real.h5") as real:
        assert real.env_kwargs == {"g": 5.0}
    run("optimize", "--model", "wm.pt", "--policy", "linear", "--reward", "env", "--iterations",
        "1", "--horizon", "2")  # fmt: skip
    run("play", "--policy", "policy.pt", "-n", "1", "--steps", "2")
    run("play", "--policy", "zero", "--model", "wm.pt", "-n", "1", "--steps", "2")
    assert main(["play", "--policy", "zero"]) == 2
    assert "no env: give --env, or a --model whose file says" in capsys.readouterr().err
