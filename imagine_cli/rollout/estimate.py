"""What a rollout will take, from a short piece of it that is imagined and forgotten."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil

from imagine_cli.environments import opened_env
from imagine_cli.recording.manifest import Manifest
from imagine_cli.recording.shard import encode, rows
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.prepare import prepare, request_header, with_env
from imagine_cli.rollout.shards import imagine_shard

# A shard's numbers are in memory as tensors, as arrays and as a file.
_COPIES = 3


@dataclass(frozen=True)
class Estimate:
    """About what a rollout takes.

    Attributes:
        rows, shards: rows are imagined side by side, the shards of one after each other.
        row_seconds: of one row, on one core.
        seconds: of all, by so many workers.
        workers: how many.
        memory: bytes, of each worker.
        file: bytes of the rollout file.
        tried: steps of trajectories that this is measured on.
    """

    rows: int
    shards: int
    row_seconds: float
    seconds: float
    workers: int
    memory: int | None
    file: int
    tried: int


def estimate_rollout(
    request: RolloutRequest, *, workers: int = 1, seconds: float = 2.0, trust_pickle: bool = False
) -> Estimate:
    """Imagine the first steps of the first shard, twice as many each time, for some seconds.

    Raises as :func:`~imagine_cli.run_rollout` does. Nothing is written.
    """
    request = with_env(request)
    with opened_env(request.env, dict(request.env_kwargs)) as (real, about):
        rollout = prepare(request, real, about, trust_pickle=trust_pickle)
        grid = Manifest.of(request_header(rollout, ""), **rollout.layout).grid
        first, steps, took, begun = grid[0], 0, 0.0, time.perf_counter()
        while steps < first.last_step and time.perf_counter() - begun + 2 * took < seconds:
            steps = min(2 * steps or 1, first.last_step)
            piece = first._replace(last_step=steps)
            before = time.perf_counter()
            done = imagine_shard(rollout, piece, None)
            data = encode(grid, piece, done.numbers, {}, "")
            took = time.perf_counter() - before
    count = first.last_trajectory * steps
    row_seconds = took * request.steps / steps
    many = sum(1 for _ in rows(grid))
    rest = first.last_step / steps - 1
    bulk = sum(values.nbytes for values in done.numbers.values())
    peak = _peak_memory()
    return Estimate(
        rows=many,
        shards=len(grid),
        row_seconds=row_seconds,
        seconds=row_seconds * ceil(many / workers),
        workers=workers,
        memory=None if peak is None else peak + int(_COPIES * rest * bulk),
        file=len(data) * request.trajectories * request.steps // count,
        tried=count,
    )


def _peak_memory() -> int | None:
    """Bytes that this process has had in memory; None where that is not to be known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
