"""One step of a rollout in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagine_cli.cli.tables import fixed, number_table, plus_minus, significant
from imagine_cli.recording.fields import FIELDS

if TYPE_CHECKING:
    from rich.console import Console

    from imagine_cli.recording.reader import Rollout

_STRONGEST = 10


class Moments(NamedTuple):
    """Mean and standard deviations, ``(K,)`` or numbers; ``sd`` is None where there is none."""

    mean: np.ndarray
    sd: np.ndarray | None


class Step(NamedTuple):
    """A belief, and what was done and earned there; the last step has neither.

    Over several trajectories a mean is the mean of their means, and ``covariance`` ``(D, D)`` the
    mean of their covariances.
    """

    observation: Moments
    covariance: np.ndarray
    action: Moments | None
    reward: Moments | None

    @property
    def correlation(self) -> np.ndarray:
        """``(D, D)``; NaN where a standard deviation is zero."""
        sd = self.observation.sd
        assert sd is not None
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.covariance / np.outer(sd, sd))


def read_step(rollout: Rollout, trajectory: int | None, step: int) -> Step:
    """Step number ``step``, of one trajectory or averaged over all, a few at a time."""
    first, count = (0, rollout.trajectories) if trajectory is None else (trajectory, 1)
    size = max(1, 2**21 // rollout.observation_size**2)
    pieces = [slice(k, min(k + size, first + count)) for k in range(first, first + count, size)]

    def average(dataset: str) -> np.ndarray | None:
        if dataset not in rollout or step == rollout.steps + FIELDS[dataset].after:
            return None
        read = (rollout.numbers(dataset, rows, step) for rows in pieces)
        return np.asarray(sum(values.astype(np.float64).sum(0) for values in read) / count)

    def moments(group: str) -> Moments | None:
        mean, var = average(f"{group}/mean"), average(f"{group}/var")
        if mean is None or var is None:
            return None if mean is None else Moments(mean, None)
        with np.errstate(invalid="ignore"):
            return Moments(mean, np.sqrt(np.diagonal(var) if var.ndim else var))

    observation, covariance = moments("observation"), average("observation/var")
    assert observation is not None
    assert covariance is not None
    return Step(observation, covariance, moments("action"), moments("reward"))


def print_step(console: Console, rollout: Rollout, trajectory: int | None, step: int) -> None:
    """Tables of the belief, its covariance and correlation, the action and the reward."""
    found = read_step(rollout, trajectory, step)
    names = rollout.observation_names
    bounds = map(_interval, rollout.observation_low.tolist(), rollout.observation_high.tolist())
    rows = []
    for labels, moments in (
        (names, found.observation),
        ([f"action {name}" for name in rollout.action_names], found.action),
        (["reward"], found.reward),
    ):
        if moments is not None:
            means = [significant(mean, 5) for mean in np.atleast_1d(moments.mean).tolist()]
            sds = [""] * len(means)
            if moments.sd is not None:
                sds = [significant(sd) for sd in np.atleast_1d(moments.sd).tolist()]
            rows += [
                (label, mean, sd, next(bounds, ""))
                for label, mean, sd in zip(labels, means, sds, strict=True)
            ]
    console.print(number_table(["", "mean", plus_minus(), "bounds"], rows))
    labels = [name[:12] for name in names]
    width = max(11, *(len(label) + 2 for label in labels))
    if not found.covariance.any():
        console.print(f"\nNo uncertainty: the covariance is zero at step {step}.")
    elif (len(names) + 1) * width > console.width:
        console.print("\nstrongest correlations", style="dim")
        console.print(number_table(["", "", "correlation"], _strongest(found, names), left=2))
    else:
        covariance = [[significant(value) for value in row] for row in found.covariance.tolist()]
        correlation = [
            [text.replace("nan", "-") for text in fixed([*row, 1.0], 4)[:-1]]
            for row in found.correlation.tolist()
        ]
        for title, cells in (("covariance", covariance), ("correlation", correlation)):
            labelled = [[label, *row] for label, row in zip(labels, cells, strict=True)]
            console.print()
            console.print(number_table([title, *labels], labelled))


def _strongest(step: Step, names: list[str]) -> list[tuple[str, str, str]]:
    rows, columns = np.triu_indices(len(names), 1)
    values = np.nan_to_num(step.correlation[rows, columns], nan=0.0)
    order = np.argsort(-np.abs(values), kind="stable")[:_STRONGEST]
    return [(names[rows[i]], names[columns[i]], f"{values[i]:.3f}") for i in order if values[i]]


def _interval(low: float, high: float) -> str:
    if not np.isfinite(low) and not np.isfinite(high):
        return "unbounded"
    return f"[{low:.6g}, {high:.6g}]"
