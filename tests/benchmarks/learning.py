"""What ``imagine learn`` comes to: ``python tests/benchmarks/learning.py NAME [--seeds 10]``.

One line for each seed, every real step counted: those until the first trial that is enough, what
five further episodes of that policy return, and the seconds of the whole run. NAME is one of
RUNS; nothing is tuned by seed, and those that fail are shown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import imagine_cli

RUNS: dict[str, dict[str, Any]] = {
    "inverted-pendulum": {
        "env_id": "InvertedPendulum-v5", "method": "pilco", "policy": "rbf:30",
        "reward": "saturating:target=0,0,0,0;width=1,0.5,inf,inf", "random_steps": 150,
        "start": "mean=0,0,0,0;var=0.01,0.0025,0.01,0.01", "iterations": 40,
        "rounds": 5, "until": "return >= 1000",
    },
    "pendulum": {
        "env_id": "Pendulum-v1", "method": "pets", "reward": "env",
        "policy": "icem:horizon=20,candidates=48,particles=5", "random_steps": 400,
        "rounds": 8, "until": "return >= -160",
    },
}  # fmt: skip


def one(name: str, seed: int) -> list[str]:
    """A row: seed, rounds, real steps before the last trial, its return, further ones, seconds."""
    options = dict(RUNS[name])
    env_id, begun = options.pop("env_id"), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        learned = imagine_cli.learn_policy(env_id, Path(folder) / "run", seed=seed, **options)
        seconds = time.perf_counter() - begun
        last = learned.rounds[-1]
        further = "-"
        if learned.policy is not None:
            played = imagine_cli.play_policy(env_id, str(learned.policy), trajectories=5, seed=seed)
            further = " ".join(f"{value:.4g}" for value in played.returns)
    before = learned.rounds[-2].real_steps
    return [
        str(seed), str(last.number), str(before), f"{last.real_return:.5g}", further,
        f"{seconds:.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    print("| seed | rounds | real steps before the last trial | its return | 5 more episodes | s |")
    print("|---|---|---|---|---|---|")
    for seed in range(given.first, given.first + given.seeds):
        print(f"| {' | '.join(one(given.name, seed))} |", flush=True)


if __name__ == "__main__":
    main()
