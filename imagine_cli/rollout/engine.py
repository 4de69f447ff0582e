"""What every engine (:mod:`imagine_cli.engines`) answers, and needs of where shards go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.shard import Shard
from imagine_cli.registry import ENGINES
from imagine_cli.rollout.nonfinite import Failure
from imagine_cli.rollout.prepare import PreparedRollout
from imagine_cli.rollout.shards import OnStep


class Shards(Protocol):
    """Where shards go: a :class:`imagine_cli.recording.RolloutWriter`, or scores of them."""

    folder: Path
    """That workers write to."""

    @property
    def shards(self) -> Sequence[Shard]:
        """All that are to be there, trajectories before steps."""

    def has(self, shard: Shard) -> bool:
        """Whether it is there already."""

    def state(self, shard: Shard) -> dict[str, np.ndarray]:
        """Where the trajectories of one that is there stand at its end."""

    def read(self, shard: Shard, field: str) -> np.ndarray:
        """A dataset of one that is there."""

    def write(
        self, shard: Shard, numbers: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]
    ) -> None:
        """One that was imagined."""

    def adopt(self, shard: Shard, digest: bytes) -> None:
        """One that a worker has put there."""


@dataclass(frozen=True, slots=True)
class RowEnd:
    """How the trajectories of a row of shards ended, for a summary.

    Attributes:
        trajectories: how many.
        ended: how many of them got there.
        initial, end: sums of the variances ``(D,)``, ``end`` over those that got there.
        returns: of those, ``(ended,)``.
    """

    trajectories: int
    ended: int
    initial: np.ndarray
    end: np.ndarray
    returns: np.ndarray

    @classmethod
    def at(cls, position: Mapping[str, np.ndarray]) -> RowEnd:
        """Where its trajectories got to the last step, or failed before it."""
        there = ~position["failed"]
        variances = np.diagonal(position["belief/var"], axis1=-2, axis2=-1).astype(np.float64)
        return cls(
            len(there),
            int(there.sum()),
            position["initial_variance"].astype(np.float64).sum(0),
            variances[there].sum(0),
            position["returns"][there].astype(np.float64),
        )


@dataclass
class WorkerTally:
    """What a worker did: shards and trajectories x steps of them, in so many seconds."""

    shards: int = 0
    steps: int = 0
    seconds: float = 0.0


@dataclass
class EngineProgress:
    """What an engine tells of its work.

    Attributes:
        on_step: called after each step, where steps are seen: in this process.
        on_shard: called before each shard, and while other processes work; what it raises ends
            the work there.
        on_tally: called when a worker tells what it did.
        failures: where trajectories stopped being finite, of those imagined here.
        workers: by name, where there are any.
        running: how many tasks are at workers.
        lost: how many tasks ended with their worker, and were given to another.
    """

    on_step: OnStep | None = None
    on_shard: Callable[[], None] | None = None
    on_tally: Callable[[EngineProgress], None] | None = None
    failures: list[Failure] = field(default_factory=list)
    workers: dict[str, WorkerTally] = field(default_factory=dict)
    running: int = 0
    lost: int = 0
    _sums: list[Any] = field(default_factory=lambda: [0, 0, 0.0, 0.0])
    _returns: array[float] = field(default_factory=lambda: array("d"))

    def look(self) -> None:
        """Where the work can be ended."""
        if self.on_shard is not None:
            self.on_shard()

    def row_ended(self, row: RowEnd) -> None:
        """The next row got to the end; they are told in their order, so that sums have one."""
        told = (row.trajectories, row.ended, row.initial, row.end)
        self._sums = [a + b for a, b in zip(self._sums, told, strict=True)]
        self._returns.frombytes(row.returns.tobytes())

    @property
    def total(self) -> RowEnd:
        """Of the rows up to now, one or more."""
        trajectories, ended, initial, end = self._sums
        return RowEnd(trajectories, ended, initial, end, np.frombuffer(self._returns))


class Engine(ABC):
    """Who runs the shards of a rollout. The bits of every shard follow from the request alone."""

    @abstractmethod
    def run(self, rollout: PreparedRollout, shards: Shards, progress: EngineProgress) -> None:
        """Imagine every shard that is not there yet, and hand it over.

        Raises:
            ImagineError: a belief that is not finite, unless these are masked.
        """

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        """``function`` of each, with its number, as they are done; here, one after the other.

        Where other processes do it, both have to be such as pickle takes, and what an item's dead
        worker did is done again. Raises what ``function`` raises.
        """
        for number, item in enumerate(items):
            yield number, function(item)


def make_engine(engine: str | Engine, **options: Any) -> Engine:
    """The engine of a name; one that is made already is itself.

    Args:
        engine: such as ``"local"``.
        options: of that engine; those that are None are left to it.

    Raises InputError for no such name, or an option that this engine doesn't have.
    """
    if isinstance(engine, Engine):
        return engine
    kind = ENGINES.load(engine)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in getattr(kind, "__dataclass_fields__", {}):
            raise InputError(f"--{name.replace('_', '-')} is no option of --engine {engine}")
    made: Engine = kind(**given)
    return made
