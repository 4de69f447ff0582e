"""What a worker does: some shards of a request, in a folder that it shares with whoever asks.

No array passes between them: a worker gets the request as JSON, loads what that names, writes its
shards and tells their digests.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from imagine_cli.engines.local import LocalEngine
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.recording.manifest import Manifest
from imagine_cli.recording.shard import Shard, rows
from imagine_cli.recording.shard_store import ShardStore
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.engine import EngineProgress, RowEnd, Shards
from imagine_cli.rollout.nonfinite import Failure
from imagine_cli.rollout.prepare import GivenRun, PreparedRollout, prepare, request_header

# Seconds after which a task takes no further row.
_TASK = 20.0


@dataclass(frozen=True)
class Work:
    """A rollout, as workers are told of it.

    Attributes:
        request: its JSON.
        folder: where its shards go, and its manifest is.
        here: the folder that the request's paths are relative to.
        trust_pickle: load a pickled model.
        time_limit: seconds that a task may take; the worker ends itself then.
        given: see :func:`~imagine_cli.rollout.prepare.prepare`.
    """

    request: str
    folder: str
    here: str
    trust_pickle: bool
    time_limit: float
    given: GivenRun | None = field(default=None, compare=False)

    @classmethod
    def of(cls, rollout: PreparedRollout, shards: Shards, time_limit: float) -> Work:
        """InputError for a rollout of objects that no JSON names."""
        request = replace(rollout.request, model=rollout.model.path)
        text = request.to_json()
        if not request.model or RolloutRequest.from_json(text, "the request") != request:
            raise InputError(
                "only a model that is a file, and parameters that are plain numbers or words, get "
                "to workers; save the model, or take the engine local"
            )
        trusted, given = rollout.model.trust_pickle, rollout.given
        return cls(text, str(shards.folder), os.getcwd(), trusted, time_limit, given)


@dataclass(frozen=True)
class Done:
    """What a worker tells of the shards that it was given.

    Attributes:
        worker: its name.
        seconds: that they took.
        digests: the SHA-256 of each shard's file, of the rows that it had the time for.
        ends: of those rows, by their first trajectory.
        failures: see :class:`~imagine_cli.rollout.engine.EngineProgress`.
    """

    worker: str
    seconds: float
    digests: dict[Shard, bytes]
    ends: dict[int, RowEnd]
    failures: list[Failure]


def work_on(work: Work, shards: Sequence[Shard]) -> Done | ImagineError:
    """Have rows of shards in the folder, one at least, and no new one after some seconds.

    What is there already is left as it is.
    """
    began = time.perf_counter()
    digests, ends, failures = dict[Shard, bytes](), dict[int, RowEnd](), list[Failure]()
    try:
        with _time_limit(work.time_limit):
            rollout, manifest = _prepared(work)
            for row in rows(shards):
                store = ShardStore(Path(work.folder), manifest, row)
                progress = EngineProgress()
                LocalEngine().run(rollout, store, progress)
                digests.update(store.digests)
                ends[row[0].first_trajectory] = progress.total
                failures.extend(progress.failures)
                if time.perf_counter() - began > _TASK:
                    break
    except ImagineError as error:
        return error
    seconds = time.perf_counter() - began
    return Done(_name(), seconds, digests, ends, failures)


def check(work: Work) -> ImagineError | None:
    """Whether this worker can do such work; what it loads for that stays loaded."""
    try:
        with _time_limit(work.time_limit):
            _prepared(work)
    except ImagineError as error:
        return error
    return None


def run_task(here: str, function: Callable[[Any], Any], item: Any) -> Any:
    """``function(item)`` in the folder ``here``, by one thread; or its ImagineError."""
    torch.set_num_threads(1)
    os.chdir(here)
    try:
        return function(item)
    except ImagineError as error:
        return error


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@lru_cache(maxsize=1)
def _prepared(work: Work) -> tuple[PreparedRollout, Manifest]:
    """Raises InputError where this worker would imagine, or sees, something else."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # whoever asked has been warned
    try:
        os.chdir(work.here)
        manifest = Manifest.read(Path(work.folder))
    except FileNotFoundError as error:
        raise InputError(
            f"the worker {_name()} finds no {error.filename}; all workers must share the folders "
            "of the output and of the command"
        ) from error
    request = RolloutRequest.from_json(work.request, work.folder)
    env = make_env(request.env, dict(request.env_kwargs))
    about = describe(env, dict(request.env_kwargs), request.env)
    rollout = prepare(request, env, about, given=work.given, trust_pickle=work.trust_pickle)
    own = Manifest.of(request_header(rollout, ""), **rollout.layout)
    difference = own.difference(manifest)
    if difference:
        raise InputError(f"the worker {_name()} would imagine another rollout: {difference}")
    return rollout, manifest


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """After so many seconds the process ends, whatever native code it is in."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
