"""What engines of other processes cost, and how large a rollout their bookkeeping carries.

python tests/benchmarks/engines.py [--rounds N]

Rates are of the time after every worker has done its first task, the best of the rounds; joblib
runs the same function on the same shards in the same folder.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from imagine_cli import run_rollout, save_world_model  # noqa: E402
from imagine_cli.engines.pooled import Pool, PooledEngine  # noqa: E402
from imagine_cli.engines.worker import Done, Work, work_on  # noqa: E402
from imagine_cli.recording import FIELDS, RolloutWriter  # noqa: E402
from imagine_cli.recording.merge import merge  # noqa: E402
from imagine_cli.recording.shard import Grid, rows  # noqa: E402
from imagine_cli.rollout.engine import (  # noqa: E402
    Engine,
    EngineProgress,
    RowEnd,
    WorkerTally,
    make_engine,
)
from tests.helpers.ensembles import random_ensemble  # noqa: E402
from tests.helpers.rollout_files import header  # noqa: E402
from tests.helpers.worlds import small_gp  # noqa: E402


@dataclass(frozen=True)
class JoblibEngine(Engine):
    workers: int

    def run(self, rollout: Any, shards: Any, progress: EngineProgress) -> None:
        from joblib import Parallel, delayed

        work = Work.of(rollout, shards, 3600.0)
        parallel = Parallel(
            n_jobs=self.workers, return_as="generator_unordered", pre_dispatch="n_jobs"
        )
        for done in parallel(delayed(work_on)(work, row) for row in rows(shards.shards)):
            for shard, digest in done.digests.items():
                shards.adopt(shard, digest)
            for end in done.ends.values():
                progress.row_ended(end)
            tally = progress.workers.setdefault(done.worker, WorkerTally())
            tally.steps += sum((s[1] - s[0]) * (s[3] - s[2]) for s in done.digests)
            progress.on_tally(progress)  # type: ignore[misc]


def rate(engine: Engine, workers: int, **options: Any) -> float:
    """Steps of trajectories a second, once all workers are at it."""
    seen: list[tuple[float, int]] = []

    def tell(progress: EngineProgress) -> None:
        steps = sum(tally.steps for tally in progress.workers.values())
        if len(progress.workers) == workers and (not seen or steps > seen[-1][1]):
            seen.append((time.perf_counter(), steps))

    with tempfile.TemporaryDirectory() as folder:
        run_rollout(
            "Pendulum-v1", "wm.pt", output=f"{folder}/r.h5", engine=engine, on_tally=tell, **options
        )
    (begun, before), (ended, after) = seen[0], seen[-1]
    return (after - before) / (ended - begun)


ENGINES: dict[str, Callable[[int], Engine]] = {
    "processes": lambda n: make_engine("processes", workers=n),
    "ray": lambda n: make_engine("ray", workers=n),
    "joblib": lambda n: JoblibEngine(workers=n),
}
MODELS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "ensemble of 5 x 4 x 200, 20 particles": (
        lambda: random_ensemble(3, 1, members=5, hidden=[200] * 4),
        {"steps": 50, "trajectories": 1200, "particles": 20},
    ),
    "GP, n = 200, moments, compiled": (
        lambda: small_gp(3, 1, n=200),
        {"steps": 50, "trajectories": 870, "compiled": True},
    ),
}


def efficiency(rounds: int) -> None:
    print(
        "\n| model | engine | steps/s with 1 worker | with 2 | efficiency |\n|---|---|---|---|---|"
    )
    for name, (make, options) in MODELS.items():
        save_world_model(make(), "wm.pt", overwrite=True)
        best = dict.fromkeys([(engine, n) for engine in ENGINES for n in (1, 2)], 0.0)
        for _ in range(rounds):
            for engine, n in best:
                best[engine, n] = max(best[engine, n], rate(ENGINES[engine](n), n, **options))
        for engine in ENGINES:
            one, two = best[engine, 1], best[engine, 2]
            print(
                f"| {name} | {engine} | {one:,.0f} | {two:,.0f} | {two / one / 2:.2f} |", flush=True
            )


def overhead(count: int = 300) -> None:
    """What a shard of 8 MiB costs beside imagining it."""
    b, t, d = 113 * count, 256, 3
    rng, spent = np.random.default_rng(0), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with RolloutWriter(f"{folder}/r.h5", header(b, t, d, 1)) as writer:
            grid = writer.manifest.grid
            arrays: dict[str, np.ndarray] = {
                name: rng.normal(size=grid.shape(FIELDS[name], grid[0]))
                for name in writer.manifest.fields
            }
            bulk = sum(values.nbytes for values in arrays.values())
            shards = [shard for shard in grid if shard[1] - shard[0] == grid.trajectories][:count]
            begun = time.process_time()
            for shard in shards:
                writer._store(shard, arrays, {"mean": np.zeros((grid.trajectories, d))})
            spent["encode, compress, write"] = time.process_time() - begun
            digests, writer.digests = writer.digests, {}
            begun = time.process_time()
            for shard, digest in digests.items():
                writer.adopt(shard, digest)
            spent["adopt"] = time.process_time() - begun
            for shard in list(grid)[len(shards) :]:
                last = {n: np.zeros(grid.shape(FIELDS[n], shard)) for n in writer.manifest.fields}
                writer._store(shard, last, {})
            begun = time.process_time()
            merge(writer.folder, trusted=writer.digests)
            spent["merge"] = time.process_time() - begun
    print(f"\n| of a shard of {bulk / 2**20:.2g} MiB | ms of a core | of 10 s |\n|---|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {1e3 * seconds / len(shards):.2f} | {seconds / len(shards) / 10:.2%} |")


class _Nothing(Pool):
    """Has done everything at once, and says of each trajectory what it would."""

    size = 1600

    def submit(self, function: Any, work: Any, shards: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(shards)
        return future

    def result(self, future: Future[Any]) -> Any:
        shards = future.result()
        ends = {
            shard[0]: RowEnd(n := shard[1] - shard[0], n, np.ones(3), np.ones(3), np.ones(n))
            for shard in shards
        }
        digests = {shard: os.urandom(32) for shard in shards}
        return Done(f"node:{shards[0][0] % 1600}", 1e-3 * len(shards), digests, ends, [])


class _NothingEngine(PooledEngine):
    @contextmanager
    def pool(self, work: Work | None) -> Iterator[Pool]:
        yield _Nothing()


def bookkeeping(trajectories: int = 10**7) -> None:
    """The driver's side of 10^5 shards, without files."""
    sizes = {"trajectory": trajectories, "step": 250, "observation": 3, "action": 1, "particle": 1}
    digests: dict[Any, bytes] = {}

    class Nowhere:
        folder = Path("nowhere")
        shards = Grid(sizes, ["observation/mean", "observation/var", "action/mean"], 8, 100)
        adopt = staticmethod(digests.__setitem__)

    from imagine_cli.engines import pooled

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, progress = time.process_time(), EngineProgress(on_tally=lambda progress: None)
    pooled._Schedule(Work("", "", "", False, 1.0), _Nothing(), Nowhere(), progress).run()  # type: ignore[arg-type]
    total = progress.total
    assert total.trajectories == trajectories
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.process_time() - begun
    print(
        f"\n{trajectories:,} trajectories in {len(digests):,} shards: {seconds:.1f} s of a core, "
        f"{(peak - before) / 1e3:.0f} MB above the {before / 1e3:.0f} MB of the libraries"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bookkeeping()
        overhead()
        efficiency(rounds)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
