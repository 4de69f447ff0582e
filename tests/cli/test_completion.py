"""What the shell offers after Tab, through the protocol that its scripts speak."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium
import pytest

from imagine_cli.cli import main
from imagine_cli.registry import POLICIES


def offered(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """For the last of the words, which is empty after a space."""
    monkeypatch.setenv("_IMAGINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("imagine samp", ["sample"]),
        ("imagine rollout --env Pend", ["Pendulum-v1"]),
        ("imagine fit --env Pend", ["Pendulum-v1"]),
        ("imagine fit --kind ", ["gp", "sparse-gp", "linear", "ensemble"]),
        ("imagine rollout --propagation l", ["linearized"]),
        ("imagine evaluate --propagation u", ["unscented"]),
        ("imagine optimize --reward s", ["saturating"]),
        ("imagine learn --method p", ["pilco", "pets"]),
        ("imagine rollout --engine pro", ["processes"]),
        ("imagine sample pendulum-g", ["pendulum-gp"]),
        ("imagine play --policy ", [*POLICIES]),
        # Nothing is offered, so that the shell offers files.
        ("imagine play --policy pol", []),
        ("imagine inspect roll", []),
        ("imagine rollout --model ", []),
    ],
)
def test_what_is_offered(
    words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert offered(words, monkeypatch, capsys) == expected


def test_all_env_ids(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = offered("imagine play --env ", monkeypatch, capsys)
    assert {"CartPole-v1", "HalfCheetah-v5"} <= set(found) <= set(gymnasium.registry)


@pytest.mark.parametrize("words", ["imagine rollout --env Pend", "imagine fit --kind gp"])
def test_it_does_not_import_torch(words: str) -> None:
    script = """
import sys
from imagine_cli.cli import main
status = main([])
print([name for name in ("torch", "torchrl", "h5py") if name in sys.modules])
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "_IMAGINE_COMPLETE": "complete_bash", "COMP_WORDS": words,
             "COMP_CWORD": "3"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
