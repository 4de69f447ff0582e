"""MuJoCo's own warnings: a sentence where the rest is said, none where it is quiet, and no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imagine_cli.cli import main

# MuJoCo is imported late, and what it warns of in C is not seen by capsys: hence capfd.
MODULE = """
import gymnasium
import numpy as np

class Unstable(gymnasium.Wrapper):
    def step(self, action):
        self.unwrapped.set_state(np.full(9, 1e11), np.full(9, 1e11))
        return super().step(action)

def make(**kwargs):
    return Unstable(gymnasium.make("HalfCheetah-v5", **kwargs))

gymnasium.register("Unstable-v0", entry_point=make, max_episode_steps=5)
"""


def test_its_warnings_are_said_once_and_never_written_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unstable_here.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["play", "--env", "unstable_here:Unstable-v0", "--policy", "zero", "-n", "2"]
    assert main(words) == 0
    err = capfd.readouterr().err
    assert err.count("imagine: MuJoCo: Nan, Inf or huge value in QPOS at DOF 0.") == 1
    assert "settotalmass" not in err
    assert main([*words, "--quiet"]) == 0
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()
