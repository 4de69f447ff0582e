"""What ``imagine learn`` comes to: ``python tests/benchmarks/learning.py NAME [--seeds 10]``.

One line for each seed, as it is done, every real step counted: those until the first trial that is
enough, what further episodes of that policy return, and the seconds of the whole run. NAME is one
of RUNS; nothing is tuned by seed, and those that fail are shown. With ``--engine processes`` seeds
run beside each other.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import imagine_cli
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.real import RealRun, evaluation_seed, run_real
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.engine import make_engine
from imagine_cli.rollout.prepare import prepare

RUNS: dict[str, dict[str, Any]] = {
    "inverted-pendulum": {
        "env_id": "InvertedPendulum-v5", "method": "pilco", "policy": "rbf:30",
        "reward": "saturating:target=0,0,0,0;width=1,0.5,inf,inf", "random_steps": 150,
        "start": "mean=0,0,0,0;var=0.01,0.0025,0.01,0.01", "iterations": 40,
        "rounds": 5, "until": "return >= 1000",
    },
    "pendulum": {
        "env_id": "Pendulum-v1", "method": "pets", "reward": "env",
        "policy": "icem:horizon=20,candidates=24,particles=5,iterations=2,std=1",
        "fit": {"hidden": 64, "layers": 2, "members": 5, "epochs": 200, "patience": 20},
        "random_steps": 200, "rounds": 6, "episodes": 100,
    },
    "hanging-pendulum": {
        "env_id": "tests.benchmarks.hanging_pendulum:PendulumHanging-v1", "method": "mc-pilco",
        "reward": "saturating:target=1,0,0;width=1,1,inf", "random_steps": 80, "trial_steps": 60,
        "horizon": 80, "iterations": 120, "rounds": 5, "held": (0, 0.9, 60),
    },
}  # fmt: skip

"""Those of :func:`imagine_cli.learn_policy`, and ``episodes``: how many more there are; ``held``:
a dimension of the observation that is above a number from a step on."""


def one(name: str, seed: int) -> list[str]:
    """A row: seed, rounds, real steps before the last trial, its return, further ones, seconds."""
    options = dict(RUNS[name])
    env_id, episodes = options.pop("env_id"), options.pop("episodes", 5)
    held = options.pop("held", None)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        learned = imagine_cli.learn_policy(env_id, Path(folder) / "run", seed=seed, **options)
        seconds = time.perf_counter() - begun
        last = learned.rounds[-1]
        run = further(learned, env_id, options, episodes, seed)
    returns = np.nansum(run.rewards, axis=1)
    shown = " ".join(f"{value:.4g}" for value in returns)
    if len(returns) > 5:
        error = returns.std(ddof=1) / len(returns) ** 0.5
        shown = f"{returns.mean():.1f} ± {error:.1f} (standard error)"
    if held is not None:
        dimension, least, first = held
        good = (run.observations[:, first:, dimension] > least).all(axis=1)
        shown += f"; held in {good.sum()} of {len(good)}"
    before = learned.rounds[-2].real_steps
    return [
        str(seed), str(last.number), str(before), f"{last.real_return:.5g}", shown,
        f"{seconds:.0f}",
    ]  # fmt: skip


def further(
    learned: imagine_cli.Learned, env_id: str, options: dict[str, Any], episodes: int, seed: int
) -> RealRun:
    """More real episodes of the last policy, or of a planner with the last model."""
    env = make_env(env_id)
    about = describe(env)
    limit = env.spec.max_episode_steps if env.spec is not None else None
    place = learned.folder / f"round-{learned.rounds[-1].number:02d}"
    planner = options["policy"] if learned.policy is None else str(learned.policy)
    request = RolloutRequest(
        env_id, str(place / "wm.pt"), {}, planner, seed=seed, steps=1, reward=options["reward"]
    )
    policy = prepare(request, env, about).policy
    run = run_real(
        env, about, policy, steps=limit or 1000, trajectories=episodes, seed=evaluation_seed(seed)
    )
    env.close()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--engine", default="local", help="who runs the seeds")
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    engine = make_engine(given.engine, workers=given.workers)
    print("| seed | rounds | real steps before the last trial | its return | more episodes | s |")
    print("|---|---|---|---|---|---|")
    seeds = range(given.first, given.first + given.seeds)
    for _, row in engine.map(partial(one, given.name), seeds):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
