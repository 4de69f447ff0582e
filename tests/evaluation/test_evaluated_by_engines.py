"""The same scores, and the same imagined file, whoever imagines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imagine_cli.cli import main
from tests.helpers.pooled_rollouts import ROOT, folder

assert folder


@pytest.mark.parametrize("name", ["processes", pytest.param("ray", marks=pytest.mark.long)])
def test_the_scores_of_local_to_the_bit(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "ray":
        pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", ROOT)
    # which the files say, and which is another for each engine
    monkeypatch.setattr("imagine_cli.cli.evaluate.command_line", lambda: "imagine evaluate")
    models = Path(ROOT) / "sample_models"
    command = ["evaluate", "--env", "Pendulum-v1", "--steps", "30", "-n", "150", "--json"]
    found = []
    for engine in (["local"], [name, "--workers", "2"]):
        how = ["--engine", *engine, "--imagined", f"{engine[0]}.h5"]
        for options in (
            ["--model", str(models / "pendulum-linear.pt"), *how],
            ["--model", str(models / "pendulum-ensemble.pt"), "--propagation", "particles",
             "--propagation", "linearized", "--particles", "7", *how[:-2]],
        ):  # fmt: skip
            assert main([*command, *options]) == 0
            said = json.loads(capfd.readouterr().out)
            assert all(model.pop("seconds") > 0 for model in said["models"])
            found.append(said)
    assert found[:2] == found[2:]
    assert Path(f"{name}.h5").read_bytes() == Path("local.h5").read_bytes()
    assert sorted(os.listdir()) == sorted(["local.h5", f"{name}.h5", "wm.pt"])
