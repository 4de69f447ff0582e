"""A short run of the fuzzer; ``python tests/fuzz/fuzz.py`` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz.py"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork, inotify and /proc"),
]


@pytest.mark.parametrize("kind", [".h5", ".pt"])
def test_no_file_does_harm(kind: str) -> None:
    """In a process without threads of its own, as it forks."""
    inputs = 1000
    command = [sys.executable, str(FUZZ), str(inputs), "20", "--kind", kind, "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{kind}: {inputs} inputs in"), done.stdout
    # Some are still good files, most are not: the fuzzer reaches past the first check.
    assert " read" in done.stdout
    assert " refused" in done.stdout


def test_no_other_input_does_harm() -> None:
    kinds = [".hdf5", ".metadata", ".pth", ".pickle", ".yaml", ".shard", ".manifest", ".json",
             ".npz", ".csv", ".parquet", ".arrow", ".tensors"]  # fmt: skip
    command = [sys.executable, str(FUZZ), "150", "20", *(f"--kind={kind}" for kind in kinds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 150 inputs in") == len(kinds), done.stdout


HARMFUL = """
import os, sys
from pathlib import Path
sys.path[:0] = [{folder!r}, {root!r}]
from tests.fuzz.harness import fuzz

def reader(path):
    harm = {harm!r}
    if harm == "run":
        os.system("true")
    elif harm == "open":
        open("/etc/hostname").close()
    elif harm == "raise":
        raise KeyError("x")
    elif harm == "crash":
        os.abort()
    elif harm == "hang":
        while True:
            pass
    elif harm == "memory":
        bytearray(2**30)

seconds = 2.0 if {harm!r} == "hang" else 60.0
report = fuzz(reader, ".pt", 3, Path({place!r}), seconds=seconds, warm=False)
print(report.bad)
"""


@pytest.mark.parametrize("harm", ["run", "open", "raise", "crash", "hang", "memory", "none"])
def test_the_fuzzer_notices(tmp_path: Path, harm: str) -> None:
    code = HARMFUL.format(
        folder=str(FUZZ.parent), root=str(FUZZ.parents[2]), harm=harm, place=str(tmp_path)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    words = {"run": "escape os.system", "open": "escape open", "raise": "traceback KeyError",
             "crash": "crash SIGABRT", "hang": "hang", "memory": "memory"}  # fmt: skip
    if harm == "none":
        assert done.stdout.strip() == "[]"
    else:
        assert done.stdout.count(words[harm]) == 3, done.stdout + done.stderr
