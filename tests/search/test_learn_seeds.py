"""Several seeds, by this process and by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagine_cli import open_rollout
from imagine_cli.cli import main

COMMAND = [
    *("learn", "--env", "Pendulum-v1", "--method", "pets", "--rounds", "1", "--random-steps", "60"),
    *("--policy", "icem:horizon=2,candidates=12,particles=2,iterations=1", "--trial-steps", "3"),
    *(
        "--fit",
        "epochs=2",
        "--fit",
        "hidden=4",
        "--fit",
        "elites=2",
        "--fit",
        "members=2",
        "--seed",
        "3",
    ),
]


def test_each_seed_is_what_it_is_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = {
        "alone/seed-4": ["--seed", "4"],
        "local": ["--seeds", "2"],
        "pooled": ["--seeds", "2", "--engine", "processes", "--workers", "2"],
    }
    (tmp_path / "alone").mkdir()
    found = []
    for folder, options in runs.items():
        assert main([*COMMAND, "-o", str(tmp_path / folder), "--json", *options]) == 0
        said = json.loads(capfd.readouterr().out)
        for one in said if isinstance(said, list) else [said]:
            with open_rollout(f"{one['folder']}/round-01/real.h5") as trial:
                seen = trial.mean().tolist(), trial.action_mean().tolist()
            for each in one["rounds"]:
                each.pop("seconds")
            found.append((one["rounds"], seen))
    assert found[0] == found[2] == found[4]
    assert found[1] == found[3] != found[2]
    assert main([*COMMAND, "-o", str(tmp_path / "local"), "--seeds", "3"]) == 2
    assert "seed-3 has a run in it" in capfd.readouterr().err


def test_one_run_is_not_divided(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "-o", str(tmp_path / "run"), "--engine", "processes"]) == 2
    assert "--engine has seeds alone to divide; give --seeds" in capfd.readouterr().err
