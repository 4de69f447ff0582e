"""How long commands take beside what they can't do without: importing their libraries.

Each pair runs in turn, whole processes, and the medians of their CPU times are compared::

    python tests/benchmarks/bench_startup.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODEL = Path(__file__).parents[2] / "sample_models" / "pendulum-gp.pt"


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of one run."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="of each command")
    options = parser.parse_args()
    imagine = ["-m", "imagine_cli"]
    rollout = [*imagine, "rollout", "--env", "Pendulum-v1", "--model", str(MODEL), "--steps", "50"]
    pairs = [
        ([*imagine, "--help"], "import typer, rich", 2.0),
        ([*imagine, "inspect", "rollout.h5"], "import typer, rich, h5py", 2.0),
        ([*rollout, "--force"], "import torchrl.envs", 1.25),
    ]
    print("CPU seconds, medians; the ratio is to stay below the limit")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cpu_seconds(rollout, folder)  # the file that inspect reads
        for command, imports, limit in pairs:
            ours, floor = [], []
            for _ in range(options.runs):
                ours.append(cpu_seconds(command, folder))
                floor.append(cpu_seconds(["-c", imports], folder))
            a, b = statistics.median(ours), statistics.median(floor)
            title = f"imagine {command[2]}"
            print(f"{title:17s} {a:6.3f} | {imports:24s} {b:6.3f} | {a / b:5.2f} (limit {limit})")


if __name__ == "__main__":
    main()
