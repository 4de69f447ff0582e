"""Processes killed at random moments: nothing is lost that was there, and nothing is half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagine_cli import save_world_model
from imagine_cli.environments import describe, make_env
from tests.helpers.linear_systems import linear_model
from tests.helpers.trials import run_trials


def trials(what: str, count: int, folder: Path) -> dict[str, int]:
    save_world_model(
        linear_model(3, 1, reward=False), folder / "wm.pt", env=describe(make_env("Pendulum-v1"))
    )
    found = run_trials("kill_trials.py", what, count, folder)
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
