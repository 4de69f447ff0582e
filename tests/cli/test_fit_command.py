"""``imagine fit`` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from imagine_cli.checkpoint import load_world_model, read_checkpoint
from imagine_cli.cli import main

SMALL = ["--steps", "100", "--points", "20", "--restarts", "1"]


def _fit(*words: str | Path) -> int:
    return main(["fit", "--env", "Pendulum-v1", *map(str, words)])


def test_it_writes_a_checkpoint_and_says_where_and_how_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wm.pt"
    assert _fit("--output", path, *SMALL) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == str(path)
    assert "20 steps held out" in lines[1]
    assert [line.split()[0] for line in lines[2:6]] == [
        "cos(theta)", "sin(theta)", "theta_dot", "all",
    ]  # fmt: skip
    assert lines[7].startswith("5 steps ahead, 3 times")
    assert err.splitlines()[0] == "running the env: 0 of 100"
    assert err.splitlines()[3].startswith("fitting dimensions: 3 of 3 in ")
    model = load_world_model(path)
    assert (model.kind, model.observation_size, model.action_size) == ("gp", 3, 1)
    found = read_checkpoint(path)
    assert found.env["id"] == "Pendulum-v1"
    assert found.metadata["command"] == (
        "imagine fit --env Pendulum-v1 --kind gp --steps 100 --points 20 --restarts 1 "
        f"--policy random --seed 0 --held-out 0.2 --output {path}"
    )
    assert torch.load(path, weights_only=True)["metadata"] == found.metadata


def test_the_recorded_command_makes_the_same_model_again(tmp_path: Path) -> None:
    first, again = tmp_path / "first.pt", tmp_path / "again.pt"
    assert _fit("-o", first, *SMALL, "--seed", "3", "--env-kwarg", "g=9.81", "--quiet") == 0
    words = read_checkpoint(first).metadata["command"].split()
    assert words[0] == "imagine"
    assert main([*words[1:-1], str(again), "--quiet"]) == 0
    one, other = load_world_model(first).state_dict(), load_world_model(again).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_checkpoint(again).env["kwargs"] == {"g": 9.81}


def test_json_alone_goes_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wm.pt"
    assert main(["fit", "--env", "CartPole-v1", "-o", str(path), *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(path)
    assert len(found["held_out_scores"]["coverage_95"]) == 4
    assert found == {"path": str(path), **read_checkpoint(path).metadata}


def test_quiet_leaves_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wm.pt"
    assert _fit("-o", path, *SMALL, "-q") == 0
    assert capsys.readouterr() == (f"{path}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "49"], "'--steps'"),
        (["--steps", "-5"], "'--steps'"),
        (["--steps", "many"], "'--steps'"),
        (["--points", "0"], "'--points'"),
        (["--restarts", "0"], "'--restarts'"),
        (["--seed", "-1"], "'--seed'"),
        (["--held-out", "0.7"], "at most 0.4, not 0.7"),
        (["--held-out", "0.01", "--steps", "500"], "fewer than 10"),
        (["--policy", "drunk"], "no policy 'drunk'"),
        (["--policy", "constant:1,2"], "constant"),
        (["--kind", "oracle"], "no kind of world model 'oracle'"),
        (["--env", "Pendulum-v99"], "no env 'Pendulum-v99'"),
        (["--env", "no_such_module:Env-v0"], "no_such_module"),
        (["--env-kwarg", "g"], "'g' is not KEY=VALUE"),
        (["--env-kwarg", "colour=red"], "can't be made"),
        (["--output", "missing/wm.pt"], "the output folder missing does not exist"),
        (["--output", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _fit(*SMALL, *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("imagine: error: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wm.pt"
    path.write_bytes(b"mine")
    assert _fit("-o", path, *SMALL) == 2
    assert capsys.readouterr().err == (
        f"imagine: error: {path} exists; give --force (overwrite=True) to replace it\n"
    )
    assert path.read_bytes() == b"mine"
    assert _fit("-o", path, *SMALL, "--force") == 0
    assert load_world_model(path).kind == "gp"


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)
    assert _fit("-o", tmp_path / "wm.pt", *SMALL) == 2
    assert capsys.readouterr().err == (
        "imagine: error: botorch is not installed; run: pip install 'imagine-cli[fit]'\n"
    )


def test_help_has_the_example_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "imagine fit --env Pendulum-v1 --output wm.pt" in shown
    for option in ("--env-kwarg", "--steps", "--points", "--policy", "--seed", "--restarts"):
        assert option in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "stage", [pytest.param("running the env", marks=pytest.mark.long), "fitting dimensions"]
)
def test_interrupted_it_leaves_nothing_and_status_130(stage: str, tmp_path: Path) -> None:
    path = tmp_path / "wm.pt"
    words = ["fit", "--env", "Pendulum-v1", "-o", str(path), "--points", "400"]
    steps = "10000000" if stage == "running the env" else "2000"
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *words, "--steps", steps, "--restarts", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                break
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "imagine: error: interrupted"
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_it_is_scored_it_leaves_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("imagine_cli.fitting.world_model.held_out_scores", stopped)
    path = tmp_path / "wm.pt"
    assert _fit("-o", path, *SMALL) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-2:] == [
        f"imagine: {path} is written, without scores", "imagine: error: interrupted",
    ]  # fmt: skip
    assert load_world_model(path).kind == "gp"
    assert "held_out_scores" not in read_checkpoint(path).metadata
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert _fit("-o", tmp_path / "again.pt", *SMALL, "--no-scores") == 0
    one, other = load_world_model(path), load_world_model(tmp_path / "again.pt")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    out, _ = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "again.pt")]
    metadata = read_checkpoint(tmp_path / "again.pt").metadata
    assert "--no-scores" in metadata["command"]
    assert main(["inspect", str(tmp_path / "again.pt")]) == 0


def test_sizes_are_said_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--kind", "linear", "--steps", "60", "--no-scores", "-o", str(tmp_path / "ant.pt")]
    assert main(["fit", "--env", "Ant-v5", *words]) == 0
    assert "imagine: Ant-v5 has 105 observations and 8 actions\n" in capsys.readouterr().err
    assert main(["fit", "--env", "Ant-v5", *words, "--quiet", "--force"]) == 0
    assert capsys.readouterr().err == ""
