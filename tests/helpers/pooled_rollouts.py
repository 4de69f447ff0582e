"""Rollouts for tests of engines whose workers are other processes: several rows of small shards."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from imagine_cli import run_rollout, save_world_model
from imagine_cli.recording import schema
from tests.helpers.linear_systems import linear_model
from tests.helpers.troubled_env import ENV_ID

ROOT = str(Path(__file__).parents[2])
"""That a process of its own finds the tests in."""


class Noon(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Noon:
        return cls(2026, 1, 1, 12, tzinfo=tz)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a world model in it, and one time for all."""
    monkeypatch.setattr(schema, "datetime", Noon)
    monkeypatch.chdir(tmp_path)
    save_world_model(linear_model(3, 1), "wm.pt")
    return tmp_path


def roll(output: str, **options: Any) -> Any:
    """Five rows of one shard each, but for ``options``."""
    settings = {"steps": 50, "trajectories": 600, "seed": 3, **options}
    kwargs = {"folder": str(Path.cwd())}
    return run_rollout(ENV_ID, "wm.pt", env_kwargs=kwargs, output=output, **settings)
