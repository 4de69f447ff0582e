"""Processes killed at random moments: nothing is lost that was there, and nothing is half there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagine_cli import save_world_model
from imagine_cli.environments import describe, make_env
from tests.helpers.linear_systems import linear_model

TESTS = Path(__file__).parent


def trials(what: str, count: int, folder: Path) -> dict[str, int]:
    save_world_model(
        linear_model(3, 1, reward=False), folder / "wm.pt", env=describe(make_env("Pendulum-v1"))
    )
    done = subprocess.run(
        [sys.executable, str(TESTS / "helpers" / "kill_trials.py"), what, str(count), "0"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    print(what, found)
    assert found["killed"] >= count
    return found


@pytest.mark.parametrize("what", ["rollout", "fit"])
def test_a_few_kills(what: str, tmp_path: Path) -> None:
    trials(what, 3, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("what", ["rollout", "fit"])
def test_more_kills(what: str, tmp_path: Path) -> None:
    found = trials(what, 25, tmp_path)
    if what == "rollout":
        assert found["resumed to the same bytes"] >= 2
        assert found["partial"] >= 2
