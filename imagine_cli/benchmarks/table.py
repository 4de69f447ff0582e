"""The table of all benchmarks, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from imagine_cli.benchmarks.timing import Work, milliseconds
from imagine_cli.errors import InputError
from imagine_cli.registry import BENCHMARKS
from imagine_cli.rollout.prepare import device_named


@dataclass(frozen=True)
class Row:
    """One measurement: medians in milliseconds of what ran in turn.

    Attributes:
        benchmark: its name in :data:`~imagine_cli.registry.BENCHMARKS`.
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
        works = {"imagine": ours, **peers, **floors}
        times = milliseconds(works, self.seconds, self.device)
        found = {name: time / per for name, time in times.items()}
        return Row(
            benchmark,
            case,
            found["imagine"],
            {name: found[name] for name in peers},
            {name: found[name] for name in floors},
        )


def run_benchmarks(only: Sequence[str] | None = None, bench: Bench | None = None) -> Iterator[Row]:
    """The rows of these benchmarks, or of all, each as soon as it is measured.

    Raises:
        InputError: a name that is none, a device that torch does not have here, or a time that
            is not positive.
    """
    bench = bench or Bench()
    for name in only or ():
        BENCHMARKS.check(name)
    if not 0 < bench.seconds < float("inf"):
        raise InputError(f"a benchmark takes more than 0 seconds, not {bench.seconds}")
    device_named(bench.device)
    names = [name for name in BENCHMARKS if not only or name in only]
    return (row for name in names for row in BENCHMARKS.load(name)(bench))
