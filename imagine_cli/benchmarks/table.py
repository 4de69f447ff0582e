"""The table of all benchmarks, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

from imagine_cli.benchmarks.timing import Work, milliseconds
from imagine_cli.errors import InputError
from imagine_cli.rollout.loading import device_named

__all__ = ["BENCHMARKS", "Bench", "Row", "run_benchmarks"]

BENCHMARKS = {
    "moment-matching": "imagine_cli.benchmarks.moment_matching:forward",
    "gradient": "imagine_cli.benchmarks.moment_matching:gradient",
    "policy-gradient": "imagine_cli.benchmarks.policy_gradient:rollouts",
    "rollout": "imagine_cli.benchmarks.rollouts:imagined_env",
    "engine": "imagine_cli.benchmarks.rollouts:engine",
    "ensemble": "imagine_cli.benchmarks.ensemble:step",
}


@dataclass(frozen=True)
class Row:
    """One measurement: medians in milliseconds of what ran in turn.

    Attributes:
        benchmark: its name in :data:`BENCHMARKS`.
        case: what was done, in words.
        ours: the time that imagine takes.
        peers: other programs at the same work, by name.
        floors: parts that no way of doing it can be without, by name.
    """

    benchmark: str
    case: str
    ours: float
    peers: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """With the ratios: how many times faster than a peer, how many times a floor."""
        return {
            **asdict(self),
            "times_faster": {name: time / self.ours for name, time in self.peers.items()},
            "times_floor": {name: self.ours / time for name, time in self.floors.items()},
        }


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Attributes:
        device: where models compute.
        seconds: of each row.
        quick: small cases alone.
        compiled: models predict by compiled functions, where they have any.
    """

    device: str = "cpu"
    seconds: float = 2.0
    quick: bool = False
    compiled: bool = False

    def row(
        self,
        benchmark: str,
        case: str,
        ours: Work,
        peers: dict[str, Work] | None = None,
        floors: dict[str, Work] | None = None,
        *,
        per: int = 1,
    ) -> Row:
        """All of them in turn; times are for each of ``per`` parts that one run has."""
        peers, floors = peers or {}, floors or {}
        works = {"": ours, **{f"peer {k}": w for k, w in peers.items()}}
        works |= {f"floor {k}": w for k, w in floors.items()}
        found = {k: time / per for k, time in self._times(works).items()}
        return Row(
            benchmark,
            case,
            found[""],
            {k: found[f"peer {k}"] for k in peers},
            {k: found[f"floor {k}"] for k in floors},
        )

    def _times(self, works: dict[str, Work]) -> dict[str, float]:
        return milliseconds(works, self.seconds, self.device)


def run_benchmarks(only: Sequence[str] | None = None, bench: Bench | None = None) -> Iterator[Row]:
    """The rows of these benchmarks, or of all, each as soon as it is measured.

    Raises:
        InputError: a name that is none, a device that torch does not have here, or a time that
            is not positive.
    """
    bench = bench or Bench()
    unknown = [name for name in only or () if name not in BENCHMARKS]
    if unknown:
        raise InputError(f"no benchmark {unknown[0]!r}; there is {', '.join(BENCHMARKS)}")
    if not 0 < bench.seconds < float("inf"):
        raise InputError(f"a benchmark takes more than 0 seconds, not {bench.seconds}")
    device_named(bench.device)
    return _rows(list(only or BENCHMARKS), bench)


def _rows(names: list[str], bench: Bench) -> Iterator[Row]:
    for name in BENCHMARKS:
        if name in names:
            module, _, attribute = BENCHMARKS[name].partition(":")
            rows: Callable[[Bench], Iterator[Row]] = getattr(import_module(module), attribute)
            yield from rows(bench)
