"""Scripts of trials beside this file, each run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["run_trials"]


def run_trials(script: str, what: str, count: int, folder: Path) -> dict[str, int]:
    """What it found how often, by its last line; an AssertionError with its words if it failed."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), what, str(count), "0"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found
