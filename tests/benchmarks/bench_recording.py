"""How fast rollouts are recorded: RolloutWriter against plain h5py, same chunks and filters.

python tests/benchmarks/bench_recording.py [--repeats N] [--memory] [--stalls]

The two write the same numbers, one after the other. With --memory: the peak
memory of a rollout of 1,000 and of one of 1,000,000 steps, each in a process of its own.
With --stalls: whether a thread beside it is held up.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from imagine_cli.recording import RolloutWriter  # noqa: E402
from tests.helpers.rollout_files import Arrays, header, part  # noqa: E402

CASES = {"B=64, T=2000, D=3": (64, 2000, 3, 1), "B=8, T=1000, D=17": (8, 1000, 17, 6)}

MEMORY = """
import resource, sys
sys.path.insert(0, {tests!r})
from tests.helpers.linear_systems import linear_model
from imagine_cli import run_rollout
run_rollout("Pendulum-v1", linear_model(3, 1), steps={steps}, output="m.h5", policy="zero")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def arrays(b: int, t: int, d: int, f: int) -> Arrays:
    """As a rollout has them: smooth means and covariances with full digits."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(b, 1, d, d)) + 0.01 * rng.normal(size=(b, t + 1, d, d)).cumsum(1)
    return {
        "observation/mean": rng.normal(size=(b, t + 1, d)).cumsum(1),
        "observation/var": root @ root.swapaxes(-1, -2),
        "action/mean": rng.normal(size=(b, t, f)),
    }


def ours(path: Path, data: Arrays) -> None:
    b, t, f = data["action/mean"].shape
    d = data["observation/mean"].shape[2]
    with RolloutWriter(path, header(b, t, d, f), overwrite=True) as writer:
        for shard in writer.shards:
            writer.write(shard, part(data, writer, shard), {"mean": np.zeros((b, d))})


def plain(path: Path, data: Arrays, chunks: dict[str, tuple[int, ...]]) -> None:
    """The blocks that suit it: whole chunks of each dataset."""
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, values in data.items():
            dataset = file.create_dataset(
                name, values.shape, values.dtype, chunks=chunks[name], fillvalue=np.nan,
                compression="gzip", compression_opts=1, shuffle=True, fletcher32=True,
            )  # fmt: skip
            for place in dataset.iter_chunks():
                dataset[place] = values[place]


def timed(repeats: int) -> None:
    print(f"{'':20s} {'plain h5py':>12s} {'RolloutWriter':>14s} {'rate':>6s}")
    with tempfile.TemporaryDirectory() as folder:
        for name, case in CASES.items():
            data, path = arrays(*case), Path(folder) / "r.h5"
            ours(path, data)
            with h5py.File(path) as file:
                chunks = {key: file[key].chunks for key in data}
            seconds: list[tuple[float, float]] = []
            for _ in range(repeats):
                begun = time.perf_counter()
                plain(path, data, chunks)
                between = time.perf_counter()
                ours(path, data)
                seconds.append((between - begun, time.perf_counter() - between))
            size = sum(values.nbytes for values in data.values()) / 1e6
            theirs, mine = (
                size / statistics.median(column) for column in zip(*seconds, strict=True)
            )
            print(f"{name:20s} {theirs:7.0f} MB/s {mine:9.0f} MB/s {mine / theirs:5.2f}x")


def stalls() -> None:
    """How long another thread waits for the interpreter while shards are compressed."""
    data = arrays(64, 20000, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        for name, work in {
            "nothing": lambda: time.sleep(2),
            "RolloutWriter": lambda: ours(Path(folder) / "r.h5", data),
        }.items():
            waits, thread = [], threading.Thread(target=work)
            thread.start()
            began = before = time.perf_counter()
            while thread.is_alive():
                sum(range(200))
                now = time.perf_counter()
                waits.append(now - before)
                before = now
            rate = len(waits) / (before - began)
            print(f"beside {name:14s} {rate:9,.0f} loops/s, longest wait {1e3 * max(waits):.0f} ms")


def memory() -> None:
    for steps in (1_000, 1_000_000):
        with tempfile.TemporaryDirectory() as folder:
            program = MEMORY.format(tests=str(ROOT), steps=steps)
            done = subprocess.run(
                [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            print(f"{steps:9,d} steps: peak memory {float(done.stdout):.0f} MB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--stalls", action="store_true")
    asked = parser.parse_args()
    timed(asked.repeats)
    if asked.stalls:
        stalls()
    if asked.memory:
        memory()
