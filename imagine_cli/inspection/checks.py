"""What can be wrong with imagined beliefs, found in one pass over a rollout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.provenance import Finding

if TYPE_CHECKING:
    from imagine_cli.recording.reader import Rollout


def check_there(rollout: Rollout, trajectory: int | None = 0, step: int | None = 0) -> None:
    """InputError where the rollout has no such trajectory or step."""
    for what, number, last in (
        ("trajectory", trajectory, rollout.trajectories - 1),
        ("step", step, rollout.steps),
    ):
        if number is not None and not 0 <= number <= last:
            there = f"{what} 0" if last == 0 else f"{what} 0 to {last}"
            raise InputError(f"{rollout.path} has no {what} {number}: it has {there}")


class Block(NamedTuple):
    """Beliefs from ``trajectory`` and ``step`` on: ``(b, t, D)`` and ``(b, t, D, D)``."""

    trajectory: int
    step: int
    mean: np.ndarray
    var: np.ndarray


def _place(trajectory: int, step: int) -> str:
    return f"trajectory {trajectory}, step {step}"


class AlikeCheck:
    """Whether all trajectories, more than one, come to the same mean at the last step."""

    def __init__(self, last: int) -> None:
        self._last, self._count, self._same = last, 0, True
        self._mean = np.empty(0)

    def add(self, block: Block) -> None:
        if not block.step <= self._last < block.step + block.mean.shape[1]:
            return
        means = block.mean[:, self._last - block.step]
        if self._count == 0:
            self._mean = means[0]
        self._count += len(means)
        self._same = self._same and bool((means == self._mean).all())

    @property
    def alike(self) -> bool:
        return self._count > 1 and self._same


class FiniteCheck:
    """Numbers of one dataset that are infinite, or NaN where no trajectory may end early."""

    def __init__(self, dataset: str, may_end: bool) -> None:
        self.dataset, self.may_end = dataset, may_end
        self.count = 0
        self.first = ""

    def add(self, trajectory: int, step: int, values: np.ndarray) -> None:
        """``values`` ``(b, t, ...)``."""
        bad = np.isinf(values) if self.may_end else ~np.isfinite(values)
        count = int(bad.sum())
        if count and not self.count:
            row, column = np.argwhere(bad.reshape(*bad.shape[:2], -1).any(-1))[0]
            self.first = _place(trajectory + int(row), step + int(column))
        self.count += count

    def warnings(self) -> list[Finding]:
        if not self.count:
            return []
        what = f"{self.count} numbers that are not finite, the first at {self.first}"
        if self.count == 1:
            what = f"1 number that is not finite, at {self.first}"
        return [Finding("not-finite", f"{self.dataset} has {what}")]


class BoundsCheck:
    """Means outside the observation space, by more than a millionth."""

    def __init__(self, names: list[str], low: np.ndarray, high: np.ndarray) -> None:
        self.names, self.low, self.high = names, low, high
        self.counts = np.zeros(len(names), dtype=np.int64)
        self.worst = np.zeros(len(names))
        self.first = [""] * len(names)
        self.beliefs = 0

    def add(self, block: Block) -> None:
        self.beliefs += block.mean.shape[0] * block.mean.shape[1]
        excess = np.maximum(self.low - block.mean, block.mean - self.high)
        bound = np.where(block.mean < self.low, self.low, self.high)
        outside = excess > 1e-6 * np.maximum(1.0, np.abs(bound))
        for d in np.flatnonzero(outside.any((0, 1))):
            if not self.first[d]:
                row, column = np.argwhere(outside[..., d])[0]
                self.first[d] = _place(block.trajectory + int(row), block.step + int(column))
            self.counts[d] += int(outside[..., d].sum())
            self.worst[d] = max(self.worst[d], excess[..., d][outside[..., d]].max())

    def warnings(self) -> list[Finding]:
        return [
            Finding(
                "outside",
                f"the mean of {self.names[d]} is outside the observation space "
                f"[{self.low[d]:.6g}, {self.high[d]:.6g}] at {self.counts[d]} of {self.beliefs} "
                f"steps, by up to {self.worst[d]:.3g}, first at {self.first[d]}",
            )
            for d in np.flatnonzero(self.counts)
        ]


class CovarianceCheck:
    """Covariances that are not symmetric or not positive semi-definite.

    Variances below zero are looked for everywhere. Eigenvalues and symmetry are looked at in a
    sample, spread evenly over trajectories and steps and with the last step in it: of 1024
    beliefs where D is up to 169, of fewer where D is larger. An eigenvalue is negative where it is
    below ``-1e-9`` of the largest, or below what rounding does in the file's own type.
    """

    def __init__(self, beliefs: int, steps: int, size: int, epsilon: float) -> None:
        self.beliefs, self.length = beliefs, steps + 1
        self.tolerance = max(1e-9, 4 * size * epsilon)
        samples = min(1024, max(1, int(5e9 / size**3)))
        stride = max(1, math.ceil(beliefs / samples))
        while math.gcd(stride, self.length) > 1:
            stride += 1  # a common factor would look at the same steps of every trajectory
        self.stride = stride
        self.sampled, self.worst = 0, 0.0
        self.counts = {"negative": 0, "asymmetric": 0, "indefinite": 0}
        self.first: dict[str, str] = {}

    def add(self, block: Block, first_belief: int) -> None:
        """``first_belief`` is how many whole trajectories' beliefs come before the block's."""
        diagonal = np.diagonal(block.var, axis1=-2, axis2=-1)
        below = (diagonal < 0).any(-1)
        self._note("negative", block, np.argwhere(below))
        rows, columns = np.indices(block.mean.shape[:2])
        number = first_belief + rows * self.length + block.step + columns
        chosen = (self.beliefs - 1 - number) % self.stride == 0
        chosen &= np.isfinite(block.var).all((-2, -1))
        if not chosen.any():
            return
        var, where = block.var[chosen], np.argwhere(chosen)
        largest = np.abs(var).max((-2, -1))
        skew = np.abs(var - var.swapaxes(-1, -2)).max((-2, -1)) > self.tolerance * largest
        values = np.linalg.eigvalsh(0.5 * (var + var.swapaxes(-1, -2)))
        top = np.abs(values).max(-1)
        bad = values[:, 0] < -self.tolerance * top
        self._note("asymmetric", block, where[skew])
        self._note("indefinite", block, where[bad])
        self.sampled += len(var)
        if bad.any():
            self.worst = min(self.worst, float((values[bad, 0] / top[bad]).min()))

    def warnings(self) -> list[Finding]:
        sampled, indefinite = f"{self.sampled} covariances looked at", "not positive semi-definite"
        worst = f"(an eigenvalue of {self.worst:.2g} of the largest)"
        sentences = {
            "negative": f"{self.beliefs} covariances have a variance below zero",
            "asymmetric": f"{sampled} are not symmetric",
            "indefinite": f"{sampled} are {indefinite} {worst}",
        }
        return [
            Finding("not-psd", f"{self.counts[name]} of {said}, the first at {self.first[name]}")
            for name, said in sentences.items()
            if self.counts[name]
        ]

    def _note(self, name: str, block: Block, places: np.ndarray) -> None:
        """``places`` ``(N, 2)``: the rows and columns of the block that are so."""
        if len(places) and not self.counts[name]:
            row, column = (int(i) for i in places[0])
            self.first[name] = _place(block.trajectory + row, block.step + column)
        self.counts[name] += len(places)


def growth_warnings(
    names: list[str], extent: np.ndarray, size: np.ndarray, sd: dict[int, np.ndarray]
) -> list[Finding]:
    """Standard deviations that explode.

    ``extent`` ``(D,)`` is high - low of the observation space, ``size`` ``(D,)`` the largest
    absolute mean on the way, ``sd`` the standard deviations ``(D,)`` at steps 0, 1 and the last.
    Exploding is: at the end wider than the space; or 100 times the start's; or, from a certain
    start, 10 000 times that of the first step and 10 times any mean.
    """
    last = max(sd)
    found = []
    for d, name in enumerate(names):
        start, end = sd[0][d], sd[last][d]
        first = sd.get(1, sd[0])[d]
        if not np.isfinite(end):
            continue  # which FiniteCheck says
        if np.isfinite(extent[d]) and end > extent[d]:
            why = f"wider than the whole observation space ({extent[d]:.6g})"
        elif start > 0 and end > 100 * start and end > 0.1 * size[d]:
            why = f"{end / start:.3g} times that at the start ({start:.3g})"
        elif start == 0 and first > 0 and end > 1e4 * first and end > 10 * size[d]:
            why = f"{end / first:.3g} times that of the first step ({first:.3g})"
        else:
            continue
        found.append(
            Finding(
                "exploding",
                f"the standard deviation of {name} explodes: at step {last} it is {end:.3g}, {why}",
            )
        )
    return found
