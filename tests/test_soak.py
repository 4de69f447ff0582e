"""Memory does not grow with the length of a rollout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from tests.benchmarks.soak import soak
soak(1000, 1, Path("."))
Path("soak.h5").unlink()
print(json.dumps(soak(*{size}, Path("."))))
"""


@pytest.mark.long
@pytest.mark.parametrize(("size", "most"), [((100_000, 1), 5), ((500, 2000), 20)])
def test_memory_is_flat(size: tuple[int, int], most: float, tmp_path: Path) -> None:
    folder = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(folder=folder, size=size)],
        cwd=tmp_path, capture_output=True, text=True, timeout=1500, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tenths = json.loads(done.stdout.splitlines()[-1])
    assert len(tenths) == 10
    memory = [mb for _, mb in tenths]
    # The whole of it would be 10 MB (and 100 MB) a time over; queues and caches are full by then.
    # What the allocator keeps goes up and down by 4 (and 8) MB.
    assert max(memory[5:]) < memory[4] + most
