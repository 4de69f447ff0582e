"""How the cost of a moment-matching rollout grows in n, D, B and T, as a log-log picture.

As torch computes it, and compiled as with ``--compile``. One size grows at a time from n=200,
D=3, B=8, T=1; the exponent is that of a least-squares line through the logarithms of the upper
half of the sizes. Peak memory of whole commands is measured too, where ``--memory`` asks for
it::

    python tests/benchmarks/scaling.py --output tests/benchmarks/scaling.svg --memory
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.benchmarks.moment_matching import random_gp

MODEL = Path(__file__).parents[2] / "sample_models" / "pendulum-gp.pt"
BASE = {"n": 200, "D": 3, "B": 8, "T": 1}
SIZES = {
    "n": [50, 100, 200, 400, 800, 1600],
    "D": [1, 2, 4, 6, 8, 12],
    "B": [1, 2, 4, 8, 16, 32, 64],
    "T": [1, 2, 4, 8, 16, 32],
}
EXPECTED = {"n": 2, "D": 2, "B": 1, "T": 1}
WAYS = {"torch": ("o-", "#2a6f97"), "compiled": ("s-", "#d1495b")}

Times = dict[str, dict[str, list[float]]]


def rollout(n: int, size: int, batch: int, steps: int, *, compiled: bool) -> Callable[[], object]:
    """A rollout with one action and no more than the model."""
    model = random_gp(n, size, 1)
    if compiled:
        model.compile()
    mean = model.inputs.mean(0)[:size].expand(batch, size).contiguous()
    var = 0.1 * torch.eye(size, dtype=torch.float64).expand(batch, size, size).contiguous()
    action = ActionBelief(torch.zeros(batch, 1, dtype=torch.float64))

    def run() -> Belief:
        belief = Belief(mean, var)
        for _ in range(steps):
            belief = Belief(*model.predict(belief, action)[:2])
        return belief

    return run


def seconds(run: Callable[[], object], budget: float) -> float:
    """The shortest CPU time: what else the machine does only ever adds."""
    run()
    times: list[float] = []
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(times) < 3:
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return min(times)


def exponent(sizes: list[int], times: list[float]) -> float:
    """The slope through the upper half, where constant overhead counts least."""
    half = len(sizes) // 2
    slope, _ = np.polyfit(np.log(sizes[half:]), np.log(times[half:]), 1)
    return float(slope)


def peak_megabytes(trajectories: int, steps: int) -> float:
    """Peak resident memory of ``imagine rollout`` with the sample model."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "imagine_cli", "rollout", "--env", "Pendulum-v1"]
        command += ["--model", str(MODEL), "--policy", "zero", "-q", "-o", f"{folder}/r.h5"]
        command += ["--steps", str(steps), "-n", str(trajectories)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
        return usage.ru_maxrss / 1024


def draw(found: Times, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "imagine"  # the same numbers, the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(11, 2.9), sharey=True)
    for axis, (name, ways) in zip(axes, found.items(), strict=True):
        sizes = SIZES[name]
        for way, times in ways.items():
            line, colour = WAYS[way]
            slope = f"{way}: {name}$^{{{exponent(sizes, times):.2f}}}$"
            milliseconds = [1e3 * t for t in times]
            axis.loglog(sizes, milliseconds, line, color=colour, markersize=4, label=slope)
            guide = [milliseconds[-1] * (s / sizes[-1]) ** EXPECTED[name] for s in sizes]
            axis.loglog(sizes, guide, "--", color="#aaaaaa", linewidth=1, zorder=0)
        fixed = ", ".join(f"{k}={v}" for k, v in BASE.items() if k != name)
        axis.set_title(fixed, fontsize=9)
        axis.legend(fontsize=8)
        axis.set_xlabel(name)
        axis.set_xticks(sizes, [str(s) for s in sizes], fontsize=8)
        axis.minorticks_off()
        axis.grid(visible=True, which="major", linewidth=0.3)
    axes[0].set_ylabel("CPU time, ms")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each point")
    parser.add_argument("--output", type=Path, help="an .svg to draw")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; one size from {BASE} at a time; shortest CPU times")
    found: Times = {}
    with torch.no_grad():
        for name, sizes in SIZES.items():
            found[name] = {}
            for way in WAYS:
                times = [
                    seconds(
                        rollout(*{**BASE, name: size}.values(), compiled=way == "compiled"),
                        options.seconds,
                    )
                    for size in sizes
                ]
                found[name][way] = times
                texts = ", ".join(
                    f"{size}: {1e3 * t:.3g}" for size, t in zip(sizes, times, strict=True)
                )
                print(f"{way} {name}^{exponent(sizes, times):.2f}   ms at {texts}", flush=True)
    if options.output is not None:
        draw(found, options.output)
    if options.memory:
        for trajectories, steps in ((1, 1_000), (1, 20_000), (64, 200), (512, 200)):
            peak = peak_megabytes(trajectories, steps)
            print(f"imagine rollout -n {trajectories} --steps {steps}: {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
