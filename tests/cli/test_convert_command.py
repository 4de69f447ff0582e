from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from imagine_cli import load_world_model
from imagine_cli.cli import main

FOLDER = Path(__file__).parents[1] / "checkpoint" / "mbrl_lib" / "members"


def test_it_writes_a_checkpoint_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "wm.pt"
    command = ["convert", str(FOLDER), "-o", str(output), "--env", "Pendulum-v1"]
    assert main([*command, "--process-noise", "0.1,0.2,0.3"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{output}\n"
    assert "a model of kind 'ensemble' now; look at it with: imagine inspect" in captured.err
    x, u = torch.ones(1, 3), torch.ones(1, 1)
    one, other = load_world_model(FOLDER), load_world_model(output)
    assert torch.equal(one.conditional(x, u).mean, other.conditional(x, u).mean)
    assert main([*command, "--force", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{output}\n", "")
    assert main([*command, "--force", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["model_kind"] == "ensemble"
    assert captured.err == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--process-noise", "0.1,x"], "--process-noise '0.1,x' is not numbers, as in"),
        (["--no-delta", "0.5"], "--no-delta '0.5' is not numbers, as in --no-delta 0,3"),
        (["--env", "NoSuchEnv-v0"], "no env 'NoSuchEnv-v0'"),
        (["--activation", "x"], "can't be converted: an ensemble needs"),
        (["-o", "."], "is a folder; name a file in it"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    options: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(FOLDER), "-o", "wm.pt", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert list(tmp_path.iterdir()) == []


def test_inspect_shows_a_folder_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(FOLDER)]) == 0
    text = capsys.readouterr().out
    assert "particles (the default), linearized, unscented" in text
    assert "mbrl-lib" in text
    assert main(["inspect", str(FOLDER), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["deterministic"] is True
    assert document["bytes"] == sum(
        (FOLDER / name).stat().st_size for name in ("model.pth", ".hydra/config.yaml")
    )
