"""``imagine optimize`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from imagine_cli.cli import main

GP = Path(__file__).parents[2] / "sample_models" / "pendulum-gp.pt"
SMALL = ["--policy", "rbf:3", "--horizon", "3", "--iterations", "2"]


def _optimize(*words: str | Path) -> int:
    return main(["optimize", "--env", "Pendulum-v1", "--model", str(GP), *map(str, words)])


def test_the_path_goes_to_stdout_and_the_rest_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.pt"
    assert _optimize("--reward", "env", "-o", path, *SMALL) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}\n"
    assert "searching: 2 of 2 in " in err
    assert "imagined return over 3 steps: " in err
    assert torch.load(path, weights_only=True)["kind"] == "rbf"
    rollout = ["rollout", "--env", "Pendulum-v1", "--model", str(GP), "--steps", "2"]
    assert main([*rollout, "--policy", str(path), "-o", str(tmp_path / "r.h5"), "-q"]) == 0
    capsys.readouterr()
    assert _optimize("--reward", "env", "-o", path, *SMALL) == 2
    assert "exists; give --force" in capsys.readouterr().err
    assert _optimize("--reward", "env", "-o", path, "-f", "-q", *SMALL) == 0
    assert capsys.readouterr() == (f"{path}\n", "")


def test_json_has_the_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.pt"
    words = ["--reward", "env", "--method", "adam", "--json", "-q", "-o", path]
    assert _optimize(*words, *SMALL) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(path)
    assert [point["iteration"] for point in said["curve"]] == [0, 1, 2]
    assert {"restart", "imagined_return", "gradient_norm"} < set(said["curve"][0])


def test_without_a_reward_it_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _optimize("-o", tmp_path / "policy.pt", "-q", *SMALL) == 2
    assert "give --reward, such as saturating" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
