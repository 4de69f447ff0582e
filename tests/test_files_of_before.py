"""Files that an earlier version wrote are read, and say the same; see tests/data/README.md."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import imagine_cli
from imagine_cli.cli import main

DATA = Path(__file__).parent / "data"
MODELS = ["gp.pt", "sparse-gp.pt", "linear.pt", "ensemble.pt", "exported.pt2", "torchrl-gp.pt"]
POLICIES = ["policy-linear.pt", "policy-rbf.pt", "policy-mlp.pt", "policy-torchrl.pt"]
ROLLOUTS = ["moments.h5", "linearized.h5", "unscented.h5", "particles.h5"]

# Their policies saw less of a belief than now: one its mean alone, one had an action drawn for each
# particle where it acts at the particle now. And one began at a belief fitted to other resets.
CHANGED = ["linearized.h5", "particles.h5", "moments.h5"]

# Where they were made. Elsewhere the same numbers are the same but for rounding.
MADE_ON = ("2.13.0+cpu", "AVX512", "x86_64")


def here() -> tuple[str, str, str]:
    import platform

    return torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files in a folder that is the current one, as it was when they were made."""
    folder = tmp_path / "data"
    shutil.copytree(DATA, folder)
    monkeypatch.chdir(folder)
    return folder


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(argv) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("model", MODELS)
def test_world_models(capsys: pytest.CaptureFixture[str], model: str) -> None:
    said = answer(capsys, "inspect", model, "--json")
    assert said["kind"] == "checkpoint"
    rollout = ["rollout", "--env", "Pendulum-v1", "--model", model, "--steps", "2", "-q"]
    assert main(rollout) == 0
    with imagine_cli.open_rollout("rollout.h5") as found:
        assert np.isfinite(found.mean(0, slice(0, 3))).all()
        assert found.attributes["model_sha256"]


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("policy", POLICIES)
def test_policies(policy: str) -> None:
    rollout = ["rollout", "--env", "Pendulum-v1", "--model", "linear.pt", "--steps", "2", "-q"]
    assert main([*rollout, "--policy", policy]) == 0
    assert Path("rollout.h5").stat().st_size


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_a_rollout_is_read_and_comes_out_the_same_again(
    capsys: pytest.CaptureFixture[str], rollout: str
) -> None:
    said = answer(capsys, "inspect", rollout, "--json")
    assert said["kind"] == "rollout"
    assert said["complete"] is True
    assert said["shape"]["trajectories"] == 2
    assert said["shape"]["steps"] == 5
    assert said["shape"]["particles"] == (6 if rollout == "particles.h5" else None)
    assert main(["rerun", rollout, "-o", "again.h5", "-q"]) == int(rollout in CHANGED)
    if rollout in CHANGED:
        return
    rounding = 0.0 if here() == MADE_ON else 1e-6
    found = imagine_cli.compare_rollouts(rollout, "again.h5", rtol=rounding, atol=rounding)
    assert found.same, found


@pytest.mark.usefixtures("data")
def test_particles_actions_and_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    datasets = answer(capsys, "inspect", "particles.h5", "--json")["shape"]["datasets"]
    assert datasets == {
        "action/mean": [2, 5, 1],
        "action/var": [2, 5, 1, 1],
        "observation/mean": [2, 6, 3],
        "observation/var": [2, 6, 3, 3],
        "particles/observation": [2, 6, 6, 3],
        "reward/mean": [2, 5],
        "reward/var": [2, 5],
    }


@pytest.mark.usefixtures("data")
def test_a_real_run_is_fitted_to_and_evaluated_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "inspect", "real.h5", "--json")["provenance"]["env_id"] == "Pendulum-v1"
    before = json.loads(Path("evaluation.json").read_text())
    now = answer(capsys, "evaluate", "--model", "linear.pt", "--real", "real.h5", "--json", "-q")
    for key in ("env_id", "policy", "seed", "steps", "trajectories", "horizons"):
        assert now[key] == before[key]
    assert now["models"][0]["score"] == pytest.approx(before["models"][0]["score"], rel=1e-9)


@pytest.mark.usefixtures("data")
def test_an_interrupted_rollout_shows_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "inspect", "interrupted.h5.partial", "--json")
    assert said["complete"] is False
    assert said["shape"]["trajectories"] == 120
    assert said["shape"]["steps"] == 128
    with imagine_cli.open_rollout("interrupted.h5.partial") as found:
        mean = found.mean(0, slice(0, 129))
    assert np.isfinite(mean[:64]).all()
    assert not np.isfinite(mean[64:]).any()


@pytest.mark.usefixtures("data")
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs the extra plot")
@pytest.mark.parametrize("file", ["evaluation.json", "particles.h5"])
def test_pictures(file: str) -> None:
    assert main(["plot", file, "-o", "picture.svg", "-q"]) == 0
    assert Path("picture.svg").read_text().lstrip().startswith("<?xml")
