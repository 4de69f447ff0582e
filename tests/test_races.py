"""Two commands for one target, and signals at random moments; the larger numbers are in README."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).parent / "helpers" / "race_trials.py"


@pytest.mark.long
@pytest.mark.parametrize(("what", "count"), [("writers", 2), ("signals", 10)])
def test_some(what: str, count: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TRIALS), what, str(count), "0"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert sum(found.values()) >= count
