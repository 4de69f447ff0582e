"""Who gets which shards, by workers in this process that are lost when a test says so."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagine_cli import InputError, open_rollout
from imagine_cli.engines import worker
from imagine_cli.engines.pooled import Pool, PooledEngine, WorkerLostError
from imagine_cli.engines.worker import work_on
from imagine_cli.errors import DiskError, ImagineError, Interrupted
from imagine_cli.recording import schema, shard
from imagine_cli.recording.shard_store import ShardStore
from imagine_cli.rollout.engine import EngineProgress
from tests.helpers.pooled_rollouts import folder, roll

assert folder


class HerePool(Pool):
    """Each task is done when its result is asked for; ``dies`` says after how many new shards."""

    def __init__(self, size: int, dies: Callable[[int], int | None]) -> None:
        self.size, self._dies, self.tasks = size, dies, dict[Future[Any], Any]()

    def submit(self, function: Any, work: Any, shards: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(None)
        assert function is work_on
        self.tasks[future] = work, shards
        return future

    def result(self, future: Future[Any]) -> Any:
        work, shards = self.tasks.pop(future)
        new = [each for each in shards if not Path(work.folder, each.filename).exists()]
        lived = self._dies(len(new))
        if lived is None:
            return work_on(work, shards)
        work_on(work, shards[: len(shards) - len(new) + lived])
        raise WorkerLostError("")


def lives(count: int) -> int | None:
    return None


@dataclass(frozen=True)
class HereEngine(PooledEngine):
    dies: Callable[[int], int | None] = lives

    @contextmanager
    def pool(self, work: Any) -> Iterator[Pool]:
        yield HerePool(self.workers or 1, self.dies)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """How often each shard was written."""
    found, store = Counter[Any](), ShardStore._store

    def counted(self: Any, shard: Any, *arrays: Any) -> None:
        found[shard] += 1
        store(self, shard, *arrays)

    monkeypatch.setattr(ShardStore, "_store", counted)
    return found


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of some shards each, of three trajectories."""
    monkeypatch.setattr(schema, "_CHUNK_BYTES", 1024)
    monkeypatch.setattr(schema, "_LEAST_STEPS", 4)
    monkeypatch.setattr(shard, "_LEAST_CHUNK_BYTES", 700)
    monkeypatch.setattr(shard, "_LEAST_BYTES", 1024)
    monkeypatch.setattr(shard, "_BATCH", 3)


SIZES = {"steps": 37, "trajectories": 15}


def test_twenty_workers_lost_at_random_moments(folder: Path, written: Counter[Any]) -> None:
    local = roll("local.h5", steps=37, trajectories=36)
    written_locally = dict(written)
    written.clear()
    rng, lost = random.Random(0), 0

    def dies(count: int) -> int | None:
        nonlocal lost
        lost += count > 0
        return rng.randint(1, min(count, 2)) if count and lost <= 20 else None

    pooled = roll("pooled.h5", engine=HereEngine(workers=3, dies=dies), steps=37, trajectories=36)
    assert pooled.lost == 20
    assert written == written_locally
    assert set(written.values()) == {1}
    assert Path("pooled.h5").read_bytes() == Path("local.h5").read_bytes()
    assert (pooled.start_sd == local.start_sd).all()
    assert (pooled.end_sd == local.end_sd).all()
    assert (pooled.returns == local.returns).all()


def test_a_row_that_kills_every_worker_is_a_sentence(folder: Path) -> None:
    engine = HereEngine(workers=2, dies=lambda count: 0)
    with pytest.raises(ImagineError, match="trajectories .* lost its worker, 6 times"):
        roll("r.h5", **SIZES, engine=engine)
    assert not list(folder.glob("r.h5*"))


def test_another_engine_goes_on(
    folder: Path, written: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_TASK", 0.0)  # a row each, of however many were given
    roll("local.h5", **SIZES)
    written.clear()

    def stop(progress: EngineProgress) -> None:
        if sum(tally.shards for tally in progress.workers.values()) == 2 * 3:
            raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        roll("r.h5", **SIZES, engine=HereEngine(workers=1), on_tally=stop)
    with open_rollout("r.h5.partial") as rollout:
        assert rollout.complete is False
    roll("r.h5", resume=True, **SIZES)
    assert set(written.values()) == {1}
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()


def test_what_a_worker_can_not_do_is_what_its_rollout_can_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise DiskError("r.h5 could not be written: No space left on device")

    monkeypatch.setattr(ShardStore, "_store", full)
    with pytest.raises(DiskError, match="No space left"):
        roll("r.h5", **SIZES, engine=HereEngine(workers=2))


def test_a_worker_that_would_imagine_something_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(progress: EngineProgress) -> None:
        monkeypatch.setattr(schema, "LIBRARIES", ("torch",))

    with pytest.raises(InputError, match="would imagine another rollout: its .* is missing"):
        roll("r.h5", **SIZES, engine=HereEngine(workers=1), on_tally=replaced)
    assert not list(folder.glob("r.h5*"))


def test_a_folder_that_workers_do_not_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(progress: EngineProgress) -> None:
        Path("r.h5.partial/manifest.json").unlink()

    with pytest.raises(InputError, match="finds no .*manifest.json; all workers must share"):
        roll("r.h5", **SIZES, engine=HereEngine(workers=1), on_tally=elsewhere)


def test_a_model_that_is_no_file(folder: Path) -> None:
    from imagine_cli import run_rollout
    from tests.helpers.linear_systems import linear_model

    with pytest.raises(InputError, match="only a model that is a file"):
        run_rollout("Pendulum-v1", linear_model(3, 1), output="r.h5", engine=HereEngine())


@pytest.mark.parametrize("options", [{"workers": 0}, {"time_limit": 0.0}])
def test_no_workers_and_no_time(options: Any) -> None:
    with pytest.raises(InputError, match="must be"):
        HereEngine(**options)
