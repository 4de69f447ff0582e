"""A file that another process is writing is read, over and over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from imagine_cli import InputError, open_rollout

WRITER = """
import sys
sys.path.insert(0, {helpers!r})
from pathlib import Path
from tests.helpers.rollout_files import numbers, write
write(Path("r.h5"), numbers(6, 20000, 5), block=100)
"""


def test_each_time_it_is_sound(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(helpers=str(Path(__file__).parents[2]))], cwd=tmp_path
    )
    partial, counts = tmp_path / "r.h5.partial", []
    while process.poll() is None:
        if not partial.exists():
            continue
        try:
            rollout = open_rollout(partial)
        except InputError:  # renamed in between, to what it is to be
            assert not partial.exists()
            break
        with rollout:
            there = np.isfinite(rollout.mean()).all(-1)
            assert (np.diff(there.astype(int), axis=1) <= 0).all()  # no step before others
            counts.append(int(there.sum()))
    assert process.wait(60) == 0
    assert len(counts) >= 3
    assert counts == sorted(counts)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert np.isfinite(rollout.mean()).all()
