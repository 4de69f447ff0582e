"""Whether two rollout files hold the same numbers, and where they don't: piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording import Rollout, open_rollout

__all__ = ["Comparison", "Difference", "Place", "compare_rollouts"]

_IGNORED = {"created", "command", "complete", "format", "format_version"}


@dataclass(frozen=True)
class Place:
    """One number in both files: ``index`` as the dataset has it, the two values."""

    index: tuple[int, ...]
    where: str
    a: float
    b: float

    @property
    def size(self) -> float:
        """The absolute difference, infinite where one is not finite and they are not the same."""
        size = abs(self.a - self.b)
        return size if size == size else float("inf")

    def as_dict(self) -> dict[str, Any]:
        return {"index": list(self.index), "where": self.where, "a": self.a, "b": self.b}


@dataclass
class Difference:
    """What differs in one dataset.

    ``first`` is at the earliest step (of those, in the lowest trajectory), ``largest`` where the
    absolute difference is. Where a dataset's shape differs or it is in one file alone, ``reason``
    says so and no numbers were compared.
    """

    dataset: str
    reason: str = ""
    count: int = 0
    total: int = 0
    first: Place | None = None
    largest: Place | None = None

    def sentence(self) -> str:
        if self.reason:
            return f"{self.dataset}: {self.reason}"
        assert self.first is not None
        assert self.largest is not None
        return (
            f"{self.dataset}: {self.count} of {self.total} numbers differ; first at "
            f"{_said(self.first)}; largest at {_said(self.largest)}, by {self.largest.size:.3g}"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "reason": self.reason,
            "count": self.count,
            "total": self.total,
            "first": None if self.first is None else self.first.as_dict(),
            "largest": None if self.largest is None else self.largest.as_dict(),
        }


@dataclass
class Comparison:
    """``differences`` in what the files hold; ``notes`` on what they say of themselves."""

    a: Path
    b: Path
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine compare --json`` prints it."""
        return {
            "kind": "comparison",
            "a": str(self.a),
            "b": str(self.b),
            "same": self.same,
            "differences": [difference.as_dict() for difference in self.differences],
            "notes": self.notes,
        }


def compare_rollouts(
    a: str | Path, b: str | Path, *, rtol: float = 0.0, atol: float = 0.0
) -> Comparison:
    """Every dataset of two rollout files, number by number.

    Two numbers are the same where ``|a - b| <= atol + rtol * max(|a|, |b|)``, or both are NaN, or
    both the same infinity. Memory is that of a piece of a few MiB, whatever the files' sizes.

    Raises:
        InputError: a file that can't be read, or a tolerance that is negative.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise InputError(f"--{name} is {value}; it must be 0 or more")
    with open_rollout(a) as one, open_rollout(b) as other:
        found = Comparison(one.path, other.path, notes=_notes(one, other))
        for what in ("observation_names", "action_names"):
            names = getattr(one, what), getattr(other, what)
            if len(names[0]) == len(names[1]) and names[0] != names[1]:
                d = next(i for i, pair in enumerate(zip(*names, strict=True)) if pair[0] != pair[1])
                reason = f"number {d} is {names[0][d]!r} in one and {names[1][d]!r} in the other"
                found.differences.append(Difference(what, reason))
        for dataset in sorted({*one.datasets, *other.datasets}):
            difference = _compare(one, other, dataset, rtol, atol)
            if difference is not None:
                found.differences.append(difference)
    return found


def _compare(
    one: Rollout, other: Rollout, dataset: str, rtol: float, atol: float
) -> Difference | None:
    shapes = one.datasets.get(dataset), other.datasets.get(dataset)
    if shapes[0] is None or shapes[1] is None:
        return Difference(dataset, f"only in {(other if shapes[0] is None else one).path}")
    if shapes[0] != shapes[1]:
        return Difference(dataset, f"its shape is {shapes[0]} in one and {shapes[1]} in the other")
    difference = Difference(dataset, total=int(np.prod(shapes[0])))
    step_axis = 2 if dataset.startswith("particles") else 1
    for rows, steps in one.slabs(dataset):
        x, y = (
            np.asarray(rollout.numbers(dataset, rows, steps), dtype=np.float64)
            for rollout in (one, other)
        )
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(x - y)
            wrong = ~(apart <= atol + rtol * np.maximum(np.abs(x), np.abs(y)))
            # An infinity has an infinite tolerance, and an infinite difference to itself.
            wrong |= np.isinf(x) | np.isinf(y)
            wrong &= ~((x == y) | (np.isnan(x) & np.isnan(y)))
        if not wrong.any():
            continue
        difference.count += int(wrong.sum())
        at = np.argwhere(wrong)
        first = at[np.lexsort((*at.T[::-1], at[:, step_axis]))[0]]
        apart = np.where(wrong, np.where(np.isnan(apart), np.inf, apart), -1.0)
        largest = np.array(np.unravel_index(int(np.argmax(apart)), apart.shape))
        offset = np.zeros(x.ndim, dtype=np.int64)
        offset[0], offset[step_axis] = rows.start, steps.start
        earlier, larger = (
            Place(
                tuple(int(i) for i in place + offset),
                _where(one, dataset, [int(i) for i in place + offset]),
                float(x[tuple(place)]),
                float(y[tuple(place)]),
            )
            for place in (first, largest)
        )
        if difference.first is None or _order(earlier, step_axis) < _order(
            difference.first, step_axis
        ):
            difference.first = earlier
        if difference.largest is None or larger.size > difference.largest.size:
            difference.largest = larger
    return difference if difference.count else None


def _order(place: Place, step_axis: int) -> tuple[int, ...]:
    return (place.index[step_axis], *place.index)


def _where(rollout: Rollout, dataset: str, index: list[int]) -> str:
    names = rollout.action_names if dataset.startswith("action") else rollout.observation_names
    if dataset.startswith("particles"):
        trajectory, particle, step, *rest = index
        place = f"step {step} of trajectory {trajectory}, particle {particle}"
    else:
        trajectory, step, *rest = index
        place = f"step {step} of trajectory {trajectory}"
    return ", ".join([place, " x ".join(names[i] for i in rest)]) if rest else place


def _said(place: Place) -> str:
    return f"{place.where} ({place.a:.9g} and {place.b:.9g})"


def _notes(one: Rollout, other: Rollout) -> list[str]:
    """What the headers say that differs."""
    notes = []
    for name in sorted(({*one.attributes} | {*other.attributes}) - _IGNORED):
        a, b = one.attributes.get(name), other.attributes.get(name)
        if not np.array_equal(np.asarray(a), np.asarray(b)):
            notes.append(f"{name}: {_brief(a)} and {_brief(b)}")
    if one.dtype != other.dtype:
        notes.append(f"numbers: {one.dtype} and {other.dtype}")
    return notes


def _brief(value: Any) -> str:
    if value is None:
        return "not said"
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
