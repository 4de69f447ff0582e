"""A rollout condensed: a few steps, a course of at most so many stretches, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from imagine_cli.inspection.checks import (
    AlikeCheck,
    Block,
    BoundsCheck,
    CovarianceCheck,
    FiniteCheck,
    check_there,
    growth_warnings,
)
from imagine_cli.recording.provenance import Finding

if TYPE_CHECKING:
    from imagine_cli.recording.reader import Rollout


@dataclass(frozen=True)
class Course:
    """Means and standard deviations along time, of K quantities.

    Over several trajectories a mean is the mean of their means, and a standard deviation the root
    mean square of theirs. The spread of the means among the trajectories is in neither. Of a real
    run only those trajectories count that get to a step.

    Attributes:
        steps: ``(N,)`` the steps of ``mean`` and ``sd``.
        mean, sd: ``(N, K)``; sd is None where there is none.
        edges: ``(M+1,)``; stretch i is the steps ``edges[i]`` to ``edges[i+1] - 1``.
        course_mean, course_sd: ``(M, K)``, averaged over each stretch in the same way.
    """

    steps: np.ndarray
    mean: np.ndarray
    sd: np.ndarray | None
    edges: np.ndarray
    course_mean: np.ndarray
    course_sd: np.ndarray | None

    def condensed(self, stretches: int) -> tuple[np.ndarray, np.ndarray | None]:
        """``course_mean`` and ``course_sd`` with at most so many stretches, neighbours merged."""
        count = len(self.course_mean)
        if stretches >= count:
            return self.course_mean, self.course_sd
        first_of = np.arange(stretches) * count // stretches
        lengths = np.diff(self.edges)[:, None]

        def average(values: np.ndarray) -> np.ndarray:
            return np.asarray(
                np.add.reduceat(values * lengths, first_of) / np.add.reduceat(lengths, first_of)
            )

        sd = None if self.course_sd is None else np.sqrt(average(self.course_sd**2))
        return average(self.course_mean), sd


@dataclass(frozen=True)
class Statistics:
    """What :func:`compute` finds.

    Attributes:
        trajectory: the one it is about, None for all.
        observation: D quantities over steps 0 to T.
        reward: one quantity over steps 0 to T-1, None in a file without rewards.
        returns: ``(B,)`` (one for one trajectory), None in a file without rewards. Sums of means.
        lengths: ``(B,)`` int64, the steps of each trajectory that are there.
        alike: whether there are several trajectories, all of which end at the same mean.
        warnings: of the file and of the numbers.
    """

    trajectory: int | None
    observation: Course
    reward: Course | None
    returns: np.ndarray | None
    lengths: np.ndarray
    alike: bool
    warnings: list[Finding]


def landmarks(last: int) -> list[int]:
    """The steps that a table shows: the first, three on the way, the last; fewer if short."""
    return sorted({round(last * k / 4) for k in range(5)})


def compute(
    rollout: Rollout,
    trajectory: int | None = None,
    *,
    bins: int = 40,
    progress: Callable[[float], None] | None = None,
) -> Statistics:
    """Means, standard deviations and warnings, in one pass with little memory.

    Args:
        rollout: an open one.
        trajectory: one trajectory, or None for all of them.
        bins: into how many stretches of steps the course is condensed.
        progress: called with the fraction that is done, from 0 to 1.

    Raises:
        InputError: there is no such trajectory.
    """
    check_there(rollout, trajectory)
    names, last = rollout.observation_names, rollout.steps
    count = rollout.trajectories if trajectory is None else 1
    ends = rollout.may_end_early
    lengths = _lengths(rollout, trajectory, count) if ends else np.full(count, last)
    if rollout.attributes.get("real"):  # whose episodes may all be over long before the last step
        last = int(lengths.max())
    epsilon = float(np.finfo(rollout.dtype).eps) if rollout.dtype.kind == "f" else 0.0
    steps_kept = sorted({*landmarks(last), min(1, last)})
    sums = _Sums(last + 1, len(names), count, steps_kept, bins, ends=ends)
    same = AlikeCheck(last)
    finite = [FiniteCheck("observation/mean", ends), FiniteCheck("observation/var", ends)]
    bounds = BoundsCheck(names, rollout.observation_low, rollout.observation_high)
    covariance = CovarianceCheck(count * (last + 1), last, len(names), epsilon)
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, steps in _until(last, rollout.slabs(trajectory=trajectory)):
            block = Block(
                rows.start,
                steps.start,
                rollout.mean(rows, steps).astype(np.float64, copy=False),
                rollout.var(rows, steps).astype(np.float64, copy=False),
            )
            before = rows.start - (trajectory or 0)
            finite[0].add(block.trajectory, block.step, block.mean)
            finite[1].add(block.trajectory, block.step, block.var)
            same.add(block)
            bounds.add(block)
            covariance.add(block, before * (last + 1))
            sums.add(block.step, block.mean, np.diagonal(block.var, axis1=-2, axis2=-1))
            if progress is not None:
                progress((before + (rows.stop - rows.start) * steps.stop / (last + 1)) / count)
        everything = sums.course(with_sd=True)
    if "action/mean" in rollout:
        finite.append(FiniteCheck("action/mean", ends))
        for rows, steps in rollout.slabs("action/mean", trajectory):
            finite[-1].add(rows.start, steps.start, rollout.action_mean(rows, steps))
    reward, returns, reward_finite = _reward(rollout, trajectory, max(last, 1), bins, count)
    shown = [step in landmarks(last) for step in everything.steps]
    assert everything.sd is not None
    size = np.abs(everything.course_mean).max(0)
    deviations = {int(everything.steps[i]): everything.sd[i] for i in (0, min(1, last), -1)}
    warnings = [
        *rollout.warnings,
        *_missing(rollout, sums),
        *(found for check in (*finite, *reward_finite) for found in check.warnings()),
        *covariance.warnings(),
        *bounds.warnings(),
        *growth_warnings(names, bounds.high - bounds.low, size, deviations),
    ]
    at = {name: getattr(everything, name)[shown] for name in ("steps", "mean", "sd")}
    observation = replace(everything, **at)
    return Statistics(trajectory, observation, reward, returns, lengths, same.alike, warnings)


def _lengths(rollout: Rollout, trajectory: int | None, count: int) -> np.ndarray:
    """How many steps of each trajectory are there ``(count,)``."""
    beliefs = np.zeros(count, dtype=np.int64)
    for rows, steps in rollout.slabs("observation/mean", trajectory):
        there = ~np.isnan(rollout.mean(rows, steps)).any(-1)
        beliefs[_within(rows, trajectory)] += there.sum(1)
    return np.maximum(beliefs - 1, 0)


def _within(rows: slice, trajectory: int | None) -> slice:
    """Where trajectories are among those that are asked for."""
    first = trajectory or 0
    return slice(rows.start - first, rows.stop - first)


def _until(last: int, slabs: Iterator[tuple[slice, slice]]) -> Iterator[tuple[slice, slice]]:
    """The parts of slabs that are of steps up to ``last``."""
    for rows, steps in slabs:
        if steps.start <= last:
            yield rows, slice(steps.start, min(steps.stop, last + 1))


def _reward(
    rollout: Rollout, trajectory: int | None, length: int, bins: int, count: int
) -> tuple[Course | None, np.ndarray | None, list[FiniteCheck]]:
    """Of the first ``length`` steps."""
    if "reward/mean" not in rollout:
        return None, None, []
    datasets = [name for name in ("reward/mean", "reward/var") if name in rollout]
    ends = rollout.may_end_early
    sums = _Sums(length, 1, count, landmarks(length - 1), bins, ends=ends)
    returns = np.zeros(count)
    finite = [FiniteCheck(name, ends) for name in datasets]
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, steps in _until(length - 1, rollout.slabs("reward/mean", trajectory)):
            mean, *var = (rollout.numbers(n, rows, steps).astype(np.float64) for n in datasets)
            for check, values in zip(finite, (mean, *var), strict=True):
                check.add(rows.start, steps.start, values)
            returns[_within(rows, trajectory)] += (np.nansum if ends else np.sum)(mean, axis=1)
            sums.add(steps.start, mean[..., None], (var[0] if var else 0.0 * mean)[..., None])
        return sums.course(with_sd=len(datasets) == 2), returns, finite


def _missing(rollout: Rollout, sums: _Sums) -> list[Finding]:
    """What is not there of a rollout that is masked or incomplete."""
    if rollout.complete is False:
        beliefs = int(sums.edges[-1]) * sums.count
        there = f"{beliefs - int(sums.missing_over[:, 0].sum())} of {beliefs} beliefs are there"
        return [Finding("missing", f"{there}; where there are none, nothing is shown")]
    ended = int(sums.missing_at[-1].max())
    if not ended or rollout.attributes.get("real"):
        return []
    many = f"{ended} of {sums.count} trajectories" if sums.count > 1 else "the one trajectory"
    return [Finding("not-finite", f"{many} stopped being finite before the end, NaN from there")]


class _Sums:
    """Sums over trajectories at some steps, and over stretches of steps.

    With ``ends`` a mean that is NaN is no part of them: a trajectory that is over.
    """

    def __init__(
        self, length: int, size: int, count: int, steps: list[int], bins: int, *, ends: bool
    ) -> None:
        self.count, self.ends = count, ends
        self.steps = np.array(steps)
        stretches = min(length, max(1, bins))
        self.edges = np.linspace(0, length, stretches + 1).round().astype(np.int64)
        self.at = np.zeros((2, len(steps), size))
        self.over = np.zeros((2, stretches, size))
        self.missing_at = np.zeros((len(steps), size))
        self.missing_over = np.zeros((stretches, size))

    def add(self, first: int, mean: np.ndarray, var: np.ndarray) -> None:
        """Beliefs ``(b, t, K)`` from step ``first`` on; ``var`` holds variances alone."""
        missing = np.zeros(mean.shape[1:])
        if self.ends:
            over = np.isnan(mean)
            missing += over.sum(0)
            mean, var = np.where(over, 0.0, mean), np.where(over, 0.0, var)
        sums = np.stack([mean.sum(0), var.sum(0)])
        steps = first + np.arange(sums.shape[1])
        here = (self.steps >= first) & (self.steps <= steps[-1])
        self.at[:, here] += sums[:, self.steps[here] - first]
        self.missing_at[here] += missing[self.steps[here] - first]
        stretch = np.searchsorted(self.edges, steps, side="right") - 1
        first_of = np.flatnonzero(np.diff(stretch, prepend=-1))
        self.over[:, stretch[first_of]] += np.add.reduceat(sums, first_of, axis=1)
        self.missing_over[stretch[first_of]] += np.add.reduceat(missing, first_of, axis=0)

    def course(self, *, with_sd: bool) -> Course:
        count = self.count - self.missing_at
        lengths = np.diff(self.edges)[:, None] * self.count - self.missing_over
        with np.errstate(divide="ignore", invalid="ignore"):  # no trajectory gets there
            return Course(
                self.steps,
                self.at[0] / count,
                np.sqrt(self.at[1] / count) if with_sd else None,
                self.edges,
                self.over[0] / lengths,
                np.sqrt(self.over[1] / lengths) if with_sd else None,
            )
