"""One step of a rollout in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.cli.tables import fixed, number_table, plus_minus, significant

if TYPE_CHECKING:
    from rich.console import Console

    from imagine_cli.recording.reader import Rollout

__all__ = ["Step", "print_step", "read_step"]

_STRONGEST = 10


@dataclass(frozen=True)
class Step:
    """A belief, and what was done and earned there; the last step has neither.

    Over several trajectories, ``mean`` ``(D,)`` is the mean of their means and ``covariance``
    ``(D, D)`` the mean of their covariances.
    """

    mean: np.ndarray
    covariance: np.ndarray
    action_mean: np.ndarray | None
    action_covariance: np.ndarray | None
    reward_mean: float | None
    reward_var: float | None

    @property
    def sd(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(np.diagonal(self.covariance)))

    @property
    def correlation(self) -> np.ndarray:
        """``(D, D)``; NaN where a standard deviation is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.covariance / np.outer(self.sd, self.sd))


def read_step(rollout: Rollout, trajectory: int | None, step: int) -> Step:
    """Step number ``step``, of one trajectory or averaged over all, a few at a time."""
    count = rollout.trajectories if trajectory is None else 1
    first = trajectory or 0
    size = rollout.observation_size
    piece = max(1, 2**21 // size**2)

    def average(name: str) -> Any:
        read = getattr(rollout, name)
        total: Any = 0.0
        for low in range(first, first + count, piece):
            rows = slice(low, min(low + piece, first + count))
            total = total + read(rows, step).astype(np.float64).sum(0)
        return total / count

    def there(dataset: str) -> bool:
        return dataset in rollout and step < rollout.steps

    return Step(
        average("mean"),
        average("var"),
        average("action_mean") if there("action/mean") else None,
        average("action_var") if there("action/var") else None,
        float(average("reward_mean")) if there("reward/mean") else None,
        float(average("reward_var")) if there("reward/var") else None,
    )


def print_step(console: Console, rollout: Rollout, trajectory: int | None, step: int) -> None:
    """Tables of the belief, its covariance and correlation, the action and the reward."""
    found = read_step(rollout, trajectory, step)
    names = rollout.observation_names
    rows = [
        (name, significant(mean, 5), significant(sd), _interval(low, high))
        for name, mean, sd, low, high in zip(
            names,
            found.mean.tolist(),
            found.sd.tolist(),
            rollout.observation_low.tolist(),
            rollout.observation_high.tolist(),
            strict=True,
        )
    ]
    if found.action_mean is not None:
        sds = [""] * len(found.action_mean)
        if found.action_covariance is not None:
            with np.errstate(invalid="ignore"):
                sds = [significant(sd) for sd in np.sqrt(np.diagonal(found.action_covariance))]
        rows += [
            (f"action {name}", significant(mean, 5), sd, "")
            for name, mean, sd in zip(
                rollout.action_names, found.action_mean.tolist(), sds, strict=True
            )
        ]
    if found.reward_mean is not None:
        sd = "" if found.reward_var is None else significant(float(np.sqrt(found.reward_var)))
        rows.append(("reward", significant(found.reward_mean, 5), sd, ""))
    console.print(number_table(["", "mean", plus_minus(), "bounds"], rows))
    matrices = {"covariance": found.covariance, "correlation": found.correlation}
    labels = [name[:12] for name in names]
    width = max(len(label) for label in labels) + 2
    if not found.covariance.any():
        console.print(f"\nNo uncertainty: the covariance is zero at step {step}.")
    elif (len(names) + 1) * max(width, 11) > console.width:
        console.print("\nstrongest correlations", style="dim")
        console.print(number_table(["", "", "correlation"], _strongest(found, names), left=2))
    else:
        for title, matrix in matrices.items():
            console.print()
            console.print(number_table([title, *labels], _matrix_rows(labels, matrix, title)))


def _matrix_rows(labels: list[str], matrix: np.ndarray, title: str) -> list[list[str]]:
    if title == "covariance":
        return [
            [label, *(significant(value) for value in row)]
            for label, row in zip(labels, matrix.tolist(), strict=True)
        ]
    return [
        [label, *(text.replace("nan", "-") for text in fixed([*row, 1.0], 4)[:-1])]
        for label, row in zip(labels, matrix.tolist(), strict=True)
    ]


def _strongest(step: Step, names: list[str]) -> list[tuple[str, str, str]]:
    rows, columns = np.triu_indices(len(names), 1)
    values = np.nan_to_num(step.correlation[rows, columns], nan=0.0)
    order = np.argsort(-np.abs(values), kind="stable")[:_STRONGEST]
    return [(names[rows[i]], names[columns[i]], f"{values[i]:.3f}") for i in order if values[i]]


def _interval(low: float, high: float) -> str:
    if not np.isfinite(low) and not np.isfinite(high):
        return "unbounded"
    return f"[{low:.6g}, {high:.6g}]"
