"""Whether two rollout files hold the same numbers, and where they don't: piece by piece."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording import Rollout, open_rollout
from imagine_cli.recording.fields import FIELDS, axis_label

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

    def __str__(self) -> str:
        return f"{self.where} ({self.a:.9g} and {self.b:.9g})"


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

    def __str__(self) -> str:
        return f"{self.dataset}: " + (
            f"{self.count} of {self.total} numbers differ; first at {self.first}; largest at "
            f"{self.largest}, by {self.largest.size:.3g}"
            if self.largest
            else self.reason
        )


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

    def lines(self) -> list[str]:
        """As ``imagine compare`` prints it."""
        verdict = f"{self.a} and {self.b} {'hold the same numbers' if self.same else 'differ'}"
        return [verdict, *map(str, self.differences), *(f"note: {note}" for note in self.notes)]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine compare --json`` prints it."""
        return {
            "kind": "comparison",
            "a": str(self.a),
            "b": str(self.b),
            "same": self.same,
            "differences": [asdict(difference) for difference in self.differences],
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
    places: list[Place] = []  # of each piece, the first and the largest
    step_axis = FIELDS[dataset].step_axis
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
        for place in (first, largest):
            index = tuple(int(i) for i in place + offset)
            values = float(x[tuple(place)]), float(y[tuple(place)])
            places.append(Place(index, _where(one, dataset, index), *values))
    if places:
        difference.first = min(places, key=lambda place: (place.index[step_axis], *place.index))
        difference.largest = max(places, key=lambda place: place.size)
    return difference if places else None


def _where(rollout: Rollout, dataset: str, index: tuple[int, ...]) -> str:
    at = dict(zip(FIELDS[dataset].axes, index, strict=True))
    place = f"step {at.pop('step')} of trajectory {at.pop('trajectory')}"
    if "particle" in at:
        place += f", particle {at.pop('particle')}"
    names = {"observation": rollout.observation_names, "action": rollout.action_names}
    rest = [names[axis_label(axis)][i] for axis, i in at.items()]
    return ", ".join([place, " x ".join(rest)]) if rest else place


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
