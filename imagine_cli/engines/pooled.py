"""What engines share whose workers are other processes: who gets which shards, again if need be."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from imagine_cli.engines.worker import Done, Work, run_task, work_on
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.recording.shard import Shard, rows
from imagine_cli.rollout.engine import Engine, EngineProgress, RowEnd, Shards, WorkerTally
from imagine_cli.rollout.prepare import PreparedRollout

Row = list[Shard]

# Seconds between two looks at whether to stop.
_LOOK = 0.2

# Workers that a shard may cost, killed or at the time limit, before the rollout is given up.
_KILLS, _HANGS = 6, 2


class WorkerLostError(Exception):
    """The worker of a task died, by whatever means. Its shards that are whole are there."""


class Pool(ABC):
    """Workers.

    Attributes:
        size: how many tasks they take at a time.
    """

    size: int

    @abstractmethod
    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker call one of :mod:`imagine_cli.engines.worker`."""

    def put(self, what: Any) -> Any:
        """An argument that many tasks have."""
        return what

    @abstractmethod
    def result(self, future: Future[Any]) -> Any:
        """Of one that is done. Raises WorkerLostError."""


@dataclass(frozen=True)
class PooledEngine(Engine):
    """Tasks of some rows of shards each, for workers that come and go.

    Attributes:
        workers: how many; as many as there are cores if None.
        time_limit: seconds that a task may take.

    Raises InputError for fewer than one worker, or no time.
    """

    workers: int | None = None
    time_limit: float = 3600.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}; it must be 1 or more")
        if not self.time_limit > 0:
            raise InputError(f"--time-limit is {self.time_limit}; it must be more than 0 seconds")

    @abstractmethod
    def pool(self, work: Work | None) -> AbstractContextManager[Pool]:
        """Workers, for a rollout or anything, until the end of the block, which kills them."""

    def run(self, rollout: PreparedRollout, shards: Shards, progress: EngineProgress) -> None:
        work = Work.of(rollout, shards, self.time_limit)
        with self.pool(work) as pool:
            _Schedule(work, pool, shards, progress).run()

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        waiting, running = deque(range(len(items))), dict[Future[Any], int]()
        lost = Counter[int]()
        with self.pool(None) as pool:
            while waiting or running:
                while waiting and len(running) < pool.size:
                    number = waiting.popleft()
                    future = pool.submit(run_task, os.getcwd(), function, items[number])
                    running[future] = number
                done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    number = running.pop(future)
                    try:
                        found = pool.result(future)
                    except WorkerLostError as error:
                        lost[number] += 1
                        if lost[number] == _KILLS:
                            raise ImagineError(
                                f"task {number} lost its worker{error}, {_KILLS} times"
                            ) from error
                        waiting.appendleft(number)
                        continue
                    if isinstance(found, ImagineError):
                        raise found
                    yield number, found


@dataclass(frozen=True)
class _Task:
    rows: list[Row]
    began: float


class _Schedule:
    """Who has which rows."""

    def __init__(self, work: Work, pool: Pool, shards: Shards, progress: EngineProgress) -> None:
        self._work, self._pool, self._shards, self._progress = work, pool, shards, progress
        self._put = pool.put(work)
        self._waiting = deque(rows(shards.shards))
        self._running: dict[Future[Any], _Task] = {}
        self._lost = Counter[Shard]()
        self._order = (row[0].first_trajectory for row in rows(shards.shards))
        self._next, self._ended = next(self._order, -1), dict[int, RowEnd]()

    def run(self) -> None:
        """Until every row is there."""
        while self._waiting or self._running:
            self._progress.look()
            while self._waiting and len(self._running) < self._pool.size:
                self._submit()
            done, _ = wait(self._running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(future)

    def _submit(self) -> None:
        """A share of what is left, of which the worker does what it has the time for."""
        count = max(1, len(self._waiting) // (2 * self._pool.size))
        task = _Task([self._waiting.popleft() for _ in range(count)], monotonic())
        given = [shard for row in task.rows for shard in row]
        future = self._pool.submit(work_on, self._put, given)
        self._running[future] = task
        self._tell()

    def _take(self, future: Future[Any]) -> None:
        task, progress = self._running.pop(future), self._progress
        try:
            done: Done | ImagineError = self._pool.result(future)
        except WorkerLostError as error:
            self._again(task, error)
            return
        if isinstance(done, ImagineError):
            raise done
        for shard, digest in done.digests.items():
            self._shards.adopt(shard, digest)
        left = [row for row in task.rows if row[0].first_trajectory not in done.ends]
        self._waiting.extendleft(reversed(left))
        self._ended.update(done.ends)
        while self._next in self._ended:
            progress.row_ended(self._ended.pop(self._next))
            self._next = next(self._order, -1)
        progress.failures += done.failures
        tally = progress.workers.setdefault(done.worker, WorkerTally())
        tally.shards += len(done.digests)
        tally.steps += _steps(done.digests)
        tally.seconds += done.seconds
        self._tell()

    def _again(self, task: _Task, error: WorkerLostError) -> None:
        """Have another worker look what is there of a task, and go on with it."""
        self._progress.lost += 1
        shards = [shard for row in task.rows for shard in row]
        missing = (s for s in shards if not (self._shards.folder / s.filename).exists())
        at = next(missing, shards[-1])  # which the worker died at
        self._lost[at] += 1
        limit = self._work.time_limit
        late = monotonic() - task.began > limit
        if self._lost[at] >= (_HANGS if late else _KILLS):
            how = f"took longer than --time-limit {limit:g}" if late else f"lost its worker{error}"
            raise ImagineError(
                f"imagining trajectories {at.first_trajectory} to {at.last_trajectory - 1}, steps "
                f"{at.first_step} to {at.last_step}, {how}, {self._lost[at]} times"
            )
        self._waiting.extendleft(reversed(task.rows))

    def _tell(self) -> None:
        self._progress.running = len(self._running)
        if self._progress.on_tally is not None:
            self._progress.on_tally(self._progress)


def _steps(shards: Iterable[Shard]) -> int:
    """Steps of trajectories."""
    return sum(
        (shard.last_trajectory - shard.first_trajectory) * (shard.last_step - shard.first_step)
        for shard in shards
    )
