"""What every engine (:mod:`imagine_cli.engines`) answers, and needs of where shards go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from imagine_cli.recording.shard import Shard
from imagine_cli.registry import ENGINES
from imagine_cli.rollout.nonfinite import Failure
from imagine_cli.rollout.prepare import PreparedRollout
from imagine_cli.rollout.shards import ImaginedShard, OnStep


class Shards(Protocol):
    """Where shards go: a :class:`imagine_cli.recording.RolloutWriter`, or scores of them."""

    @property
    def shards(self) -> Sequence[Shard]:
        """All of them, trajectories before steps."""

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


@dataclass
class EngineProgress:
    """What an engine tells of its work.

    Attributes:
        on_step: called after each step, where steps are seen.
        on_shard: called before each shard; what it raises ends the work there.
        initial, end: sums over trajectories of the variances ``(D,)``, those of ``end`` that got
            there: ``ended`` of them.
        returns: of the trajectories that got to the end, ``(b,)`` each time.
        failures: where trajectories stopped being finite, of those imagined here.
    """

    on_step: OnStep | None = None
    on_shard: Callable[[], None] | None = None
    initial: Any = 0.0
    end: Any = 0.0
    ended: int = 0
    returns: list[np.ndarray] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def imagined(self, done: ImaginedShard) -> None:
        """A shard was imagined."""
        self.failures += done.failures

    def at_end(self, position: Mapping[str, np.ndarray]) -> None:
        """Trajectories got to the last step, or failed before it."""
        there = ~position["failed"]
        variances = np.diagonal(position["belief/var"], axis1=-2, axis2=-1).astype(np.float64)
        self.initial = self.initial + position["initial_variance"].astype(np.float64).sum(0)
        self.end = self.end + variances[there].sum(0)
        self.ended += int(there.sum())
        self.returns.append(position["returns"][there].astype(np.float64))


class Engine(ABC):
    """Who runs the shards of a rollout. The bits of every shard follow from the request alone."""

    @abstractmethod
    def run(self, rollout: PreparedRollout, shards: Shards, progress: EngineProgress) -> None:
        """Imagine every shard that is not there yet, and hand it over.

        Raises:
            ImagineError: a belief that is not finite, unless these are masked.
        """


def make_engine(engine: str | Engine) -> Engine:
    """The engine of a name; one that is made already is itself. InputError for no such name."""
    return engine if isinstance(engine, Engine) else ENGINES.load(engine)()
