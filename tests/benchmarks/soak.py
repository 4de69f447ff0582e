"""A long rollout: whether memory and rate stay what they are from the first tenth to the last.

python tests/benchmarks/soak.py [--steps T] [--trajectories B], 2,000,000 x 1 by default
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagine_cli import open_rollout, run_rollout
from imagine_cli.inspection.statistics import compute
from tests.helpers.linear_systems import linear_model

__all__ = ["soak"]


def resident() -> float:
    """MB of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(steps: int, trajectories: int, folder: Path) -> list[tuple[float, float]]:
    """(steps a second, MB of memory) of each tenth. Raises AssertionError where the file is not
    valid."""
    total, done, tenths = steps * trajectories, 0, [(time.perf_counter(), 0.0)]

    def on_step(count: int, *_: Any) -> None:
        nonlocal done
        done += count
        if done * 10 >= len(tenths) * total:
            tenths.append((time.perf_counter(), resident()))

    run_rollout(
        "Pendulum-v1", linear_model(3, 1), steps=steps, trajectories=trajectories,
        output=folder / "soak.h5", policy="zero", on_step=on_step,
    )  # fmt: skip
    with open_rollout(folder / "soak.h5") as rollout:
        assert rollout.complete
        assert (rollout.trajectories, rollout.steps) == (trajectories, steps)
        kinds = {finding.kind for finding in compute(rollout).warnings}
        assert not kinds & {"not-finite", "not-psd", "incomplete", "missing"}, kinds
    return [
        (total / 10 / (now - before), memory) for (before, _), (now, memory) in pairwise(tenths)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--trajectories", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tenths = soak(asked.steps, asked.trajectories, Path(folder))
        size = (Path(folder) / "soak.h5").stat().st_size / 1e6
    print(f"{asked.trajectories} x {asked.steps} steps, {size:.0f} MB, valid")
    print("tenth   steps/s   memory MB")
    for number, (rate, memory) in enumerate(tenths, 1):
        print(f"{number:5d} {rate:9.0f} {memory:11.1f}")


if __name__ == "__main__":
    main()
