"""What ``--estimate`` says of a rollout, beside the rollout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imagine_cli import save_world_model
from imagine_cli.cli import main
from tests.helpers.linear_systems import linear_model


def test_the_size_of_the_file_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_world_model(linear_model(3, 1), "wm.pt")
    command = ["rollout", "--env", "Pendulum-v1", "--model", "wm.pt", "-n", "300", "--steps", "20"]
    assert main([*command, "--estimate", "--workers", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert os.listdir() == ["wm.pt"]
    assert main([*command, "-q"]) == 0
    assert said["file"] == pytest.approx(Path("rollout.h5").stat().st_size, rel=0.3)
    assert said["workers"] == 4
    assert said["shards"] >= said["rows"] >= 1
    # By four workers in one turn where there are no more than four rows.
    assert said["seconds"] == pytest.approx(said["row_seconds"] * -(-said["rows"] // 4))
    assert main([*command, "--estimate", "--workers", "2"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "work", "time", "memory", "file",
    ]  # fmt: skip
    assert main([*command, "--estimate", "--workers", "0"]) == 2
