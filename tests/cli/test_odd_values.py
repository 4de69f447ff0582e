"""Sizes that nothing can hold and values of odd types: a sentence, and exit status 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
import torch

from imagine_cli import save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from tests.helpers.linear_systems import linear_model
from tests.helpers.rollout_files import numbers, write


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    about = describe(make_env("Pendulum-v1"))
    save_world_model(linear_model(3, 1, reward=False), "wm.pt", env=about)
    write(Path("r.h5"), numbers(2, 4))
    return tmp_path


def sentence(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that is refused says."""
    capsys.readouterr()
    assert main(command.split()) == 2, command
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("imagine: error: ")
    return line


@pytest.mark.parametrize(
    "command",
    [
        "rollout --model wm.pt -n 2000000000000",
        "rollout --model wm.pt --steps 1000000000000000",
        "rollout --model wm.pt --propagation particles --particles 1000000000000",
        "rollout --model wm.pt -n 1000 --propagation particles --particles 100000000000",
        "fit --steps 1000000000000000",
    ],
)
def test_what_nothing_can_hold_is_refused_before_any_work(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence(f"{command} --env Pendulum-v1 -o out", capsys)
    assert {path.name for path in here.iterdir()} == {"wm.pt", "r.h5"}


@pytest.mark.parametrize("key", ["format", "version", "kind", "config", "env"])
def test_a_tensor_for_anything_in_a_checkpoint(
    here: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load("wm.pt", weights_only=True)
    torch.save({**checkpoint, key: torch.zeros(3)}, "odd.pt")
    assert "defect" not in sentence("inspect odd.pt", capsys)


@pytest.mark.parametrize("name", ["complete", "format", "steps", "arguments", "env_kwargs"])
@pytest.mark.parametrize("value", [[1.0, 2.0], float("nan"), "[" * 10_000, '{"env": [NaN]}'])
def test_odd_attributes_of_a_rollout(
    here: Path, name: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("r.h5", "a") as file:
        file.attrs[name] = value
    for command in ("inspect r.h5", "inspect r.h5 --json", "rerun r.h5", "compare r.h5 r.h5"):
        main(command.split())
        assert "defect" not in capsys.readouterr().err


def test_json_of_anyone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("[" * 100_000, "[]", '{"kind": "evaluation"}', json.dumps({"kind": {}}), "\0"):
        Path("e.json").write_text(text)
        assert "e.json" in sentence("plot e.json -o p.svg", capsys)
    with Path("e.json").open("w") as file:
        file.write("{")
        file.truncate(2**30)  # zeros, which take no room on the disk
    assert "bytes" in sentence("plot e.json -o p.svg", capsys)


def test_an_interrupt_while_modules_are_imported_is_one_line() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", "import imagine_cli.cli as cli, sys\nprint(flush=True)\n"
         "sys.exit(cli.main(['--version']))"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    run.stdout.readline()
    time.sleep(0.02)
    os.kill(run.pid, signal.SIGINT)
    assert run.communicate()[1] == "imagine: error: interrupted\n"
    assert run.returncode == 130
