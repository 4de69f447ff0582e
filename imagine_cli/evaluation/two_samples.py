"""Whether two files' trajectories look as if drawn from the same distribution."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError, require
from imagine_cli.recording import Rollout, open_rollout

_MOST_STEPS = 12
# What "same" should rule out: a mean that is off by so many standard deviations, so often.
_SHIFT, _POWER = 0.5, 0.9
# Standard deviations: farther apart no two samples have values in between.
_LARGEST = 10.0


@dataclass(frozen=True)
class TwoSamples:
    """Kolmogorov-Smirnov tests of what trajectories are at some steps, taken as one test.

    ``p`` is the smallest of the tests' p-values times their number (Bonferroni), at most 1;
    ``quantity`` and ``step`` say where it is. ``same`` is ``p >= alpha``. ``detectable`` is by how
    many standard deviations a normal quantity has to be shifted for that to show in 9 of 10 cases
    (infinity where none would), and ``enough`` how many trajectories a file needs for half a one.
    """

    a: Path
    b: Path
    alpha: float
    p: float
    quantity: str
    step: int
    tests: int
    trajectories: tuple[int, int]
    detectable: float
    enough: int

    @property
    def same(self) -> bool:
        return self.p >= self.alpha

    def lines(self) -> list[str]:
        """As ``imagine compare --statistical`` prints it."""
        many = f"{self.trajectories[0]} and {self.trajectories[1]} trajectories"
        closest = f"p = {self.p:.3g} after {self.tests} tests of {many}"
        place = f"{self.quantity} at step {self.step}"
        verdict = f"could be of one distribution: {closest} (smallest: {place})"
        if not self.same:
            verdict = f"are of different distributions: {closest}, the clearest in the {place}"
        lines = [f"{self.a} and {self.b} {verdict}"]
        if self.same:
            shown = "no shift of a quantity would be sure to show"
            if np.isfinite(self.detectable):
                shown = (
                    f"a quantity shifted by {self.detectable:.2g} standard deviations would show "
                    "in 9 of 10 cases"
                )
            if min(self.trajectories) < self.enough:
                shown = (
                    f"so few trajectories say little: {shown}; half a standard deviation takes "
                    f"{self.enough} of each"
                )
            lines.append(shown)
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine compare --statistical --json`` prints it."""
        return {
            "kind": "two-samples",
            "a": str(self.a),
            "b": str(self.b),
            "same": self.same,
            "alpha": self.alpha,
            "p": self.p,
            "most_different": {"quantity": self.quantity, "step": self.step},
            "tests": self.tests,
            "trajectories": list(self.trajectories),
            "detectable_shift": self.detectable,
            "enough_trajectories": self.enough,
        }


def compare_distributions(a: str | Path, b: str | Path, *, alpha: float = 0.01) -> TwoSamples:
    """Test whether two sets of trajectories come from one distribution.

    At up to 12 steps, evenly spaced, each observation's mean and standard deviation, each action
    and the reward are compared over the trajectories by a two-sample Kolmogorov-Smirnov test.
    Only what both files have is; NaN (a real trajectory after its end) is left out. Files may have
    different numbers of trajectories. The chance of a difference where there is none is at most
    ``alpha``.

    Raises:
        InputError: files that can't be read or don't fit each other, too few trajectories for any
            difference to show, or scipy is missing.
    """
    if not 0.0 < alpha < 1.0:
        raise InputError(f"--alpha is {alpha}; it must be between 0 and 1")
    require("evaluate", "scipy")
    from scipy.stats import ks_2samp

    with open_rollout(a) as one, open_rollout(b) as other:
        _check(one, other)
        last = min(one.steps, other.steps)
        steps = sorted({round(k * last / (_MOST_STEPS - 1)) for k in range(_MOST_STEPS)})
        mine, others = _quantities(one, steps), _quantities(other, steps)
        counts = (one.trajectories, other.trajectories)
        paths = (one.path, other.path)
    both = [place for place in mine if place in others]
    tests = len(both)
    least = min(1.0, 2.0 / comb(sum(counts), counts[0]))
    if least * tests >= alpha:
        raise InputError(
            f"{counts[0]} and {counts[1]} trajectories are too few: with {tests} tests no "
            f"difference could be told at --alpha {alpha}; compare more trajectories"
        )
    smallest, where = 1.0, ("nothing", 0)
    for place in both:
        x, y = (values[place][~np.isnan(values[place])] for values in (mine, others))
        if len(x) and len(y):
            p = float(ks_2samp(x, y).pvalue)
        else:
            p = 1.0 if len(x) == len(y) else least
        if p < smallest:
            smallest, where = p, place
    power = Power(alpha / tests)
    return TwoSamples(
        *paths, alpha, min(1.0, smallest * tests), *where, tests, counts,
        power.detectable(*counts), power.enough(_SHIFT),
    )  # fmt: skip


@dataclass(frozen=True)
class Power:
    """What a Kolmogorov-Smirnov test at ``alpha`` finds, at least: by where the two distribution
    functions are farthest apart alone, and with the test's asymptotic threshold."""

    alpha: float

    def of(self, shift: float, n: float, m: float) -> float:
        """How likely a normal quantity shifted by so many standard deviations is found."""
        from scipy.special import kolmogi, ndtr

        above = ndtr(shift / 2)
        apart, threshold = 2 * above - 1, kolmogi(self.alpha) * np.sqrt(1 / n + 1 / m)
        error = np.sqrt(above * (1 - above) * (1 / n + 1 / m))
        return float(ndtr((apart - threshold) / error))

    def detectable(self, n: int, m: int) -> float:
        """The shift that is found in 9 of 10 cases, infinity where there is none."""
        from scipy.optimize import brentq

        if self.of(_LARGEST, n, m) < _POWER:
            return np.inf
        return float(brentq(lambda shift: self.of(shift, n, m) - _POWER, 0.0, _LARGEST))

    def enough(self, shift: float) -> int:
        """How many trajectories of each it takes to find a shift in 9 of 10 cases."""
        from scipy.optimize import brentq

        return int(np.ceil(brentq(lambda n: self.of(shift, n, n) - _POWER, 1.0, 1e9)))


def _check(one: Rollout, other: Rollout) -> None:
    for what in ("observation_names", "action_names"):
        if getattr(one, what) != getattr(other, what):
            raise InputError(
                f"{one.path} and {other.path} have different {what.replace('_', ' ')}, "
                f"{getattr(one, what)} and {getattr(other, what)}: there is no common distribution"
            )


def _quantities(rollout: Rollout, steps: list[int]) -> dict[tuple[str, int], np.ndarray]:
    """``(B,)`` numbers by quantity and step, of what the file has."""
    found: dict[tuple[str, int], np.ndarray] = {}
    names = rollout.observation_names
    labels = {
        "observation/mean": [f"mean of {name}" for name in names],
        "observation/var": [f"standard deviation of {name}" for name in names],
        "action/mean": [f"action {name}" for name in rollout.action_names],
        "reward/mean": ["reward"],
    }
    for dataset, columns in labels.items():
        if dataset not in rollout:
            continue
        there = [step for step in steps if step < rollout.datasets[dataset][1]]
        numbers = np.empty((len(there), rollout.trajectories, len(columns)))
        for rows, some in rollout.slabs(dataset):
            here = [k for k, step in enumerate(there) if some.start <= step < some.stop]
            block: Any = rollout.numbers(dataset, rows, some) if here else None
            for k in here:
                numbers[k, rows] = _column(block[:, there[k] - some.start], dataset)
        for d, label in enumerate(columns):
            found |= {(label, step): numbers[k, :, d] for k, step in enumerate(there)}
    return found


def _column(values: np.ndarray, dataset: str) -> np.ndarray:
    """``(b, K)`` of one step of a dataset."""
    values = values.astype(np.float64)
    if dataset.endswith("/var"):
        return np.asarray(np.sqrt(np.maximum(np.diagonal(values, axis1=-2, axis2=-1), 0.0)))
    return values.reshape(len(values), -1)
