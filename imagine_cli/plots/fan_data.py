"""The numbers of a fan chart, read from a rollout a piece at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.inspection.checks import check_there
from imagine_cli.recording import Rollout

BANDS = {50: 0.6744897501960817, 95: 1.959963984540054}
"""How many standard deviations the central interval of a Gaussian reaches, by its percentage."""

_MOST_DIMENSIONS = 24
_MOST_ACTIONS = 6
_MOST_POINTS = 2000
_MOST_PARTICLES = 50


@dataclass(frozen=True)
class Fan:
    """One trajectory at N of its steps; what is not finite is NaN.

    Attributes:
        trajectory: its number.
        steps: ``(N,)``.
        mean, sd: ``(N, C)``: the D dimensions of the observation, then the action's and the
            reward, which are those of the step that begins there. The last one stays to the end.
        particles: ``(P, N, D)``, at most 50 of them; None where there are none.
        real: ``(N, C)``, NaN after the real trajectory's end; None where there is none.
        low, high: ``(D,)``, bounds of the observation space, infinite where there is none.
        label: what ``mean`` is.
    """

    trajectory: int
    steps: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    particles: np.ndarray | None = None
    real: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    label: str = "mean"

    def band(self, percent: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of a central interval, ``(N, C)`` each."""
        half = BANDS[percent] * self.sd
        return self.mean - half, self.mean + half

    def bounds(self, d: int) -> list[float]:
        """The finite bounds of a column, 0 to 2 of them."""
        if self.low is None or self.high is None or d >= len(self.low):
            return []
        return [float(end[d]) for end in (self.low, self.high) if np.isfinite(end[d])]

    def held(self, d: int) -> bool:
        """Whether a column is the action or the reward."""
        return self.low is not None and d >= len(self.low)


def read_fan(
    rollout: Rollout, trajectory: int = 0, real: Rollout | None = None, points: int = _MOST_POINTS
) -> Fan:
    """One trajectory at ``points`` steps or fewer, evenly spaced, the first and last included.

    Raises:
        InputError: there is no such trajectory, or ``real`` has another D.
    """
    check_there(rollout, trajectory)
    steps = np.unique(np.linspace(0, rollout.steps, max(2, points)).round().astype(np.int64))
    mean = _columns(rollout, "mean", trajectory, steps)
    kept = "particles/observation" in rollout
    particles = _picked(rollout, "particles/observation", trajectory, steps) if kept else None
    var = _columns(rollout, "var", trajectory, steps)
    with np.errstate(invalid="ignore"):
        sd = np.sqrt(np.where(var >= 0, var, np.nan))
    observed = None
    if real is not None:
        check_real(rollout, real, trajectory)
        there = steps[steps <= real.steps]
        observed = np.full_like(mean, np.nan)
        found = _columns(real, "mean", trajectory, there)[:, : mean.shape[1]]
        found[np.isnan(found[:, : rollout.observation_size]).all(-1)] = np.nan
        observed[: len(there), : found.shape[1]] = found
    return Fan(
        trajectory, steps, mean, sd, particles, observed, rollout.observation_low,
        rollout.observation_high, "real" if rollout.attributes.get("real") else "mean",
    )  # fmt: skip


def column_names(rollout: Rollout) -> list[str]:
    """What each column of a fan is called."""
    reward = ["reward"] if "reward/mean" in rollout else []
    return [*rollout.observation_names, *rollout.action_names, *reward]


def check_real(rollout: Rollout, real: Rollout, trajectory: int) -> None:
    """InputError where ``real`` has no such trajectory, or one of something else."""
    if real.observation_size != rollout.observation_size:
        raise InputError(
            f"{real.path} has D = {real.observation_size} and {rollout.path} "
            f"{rollout.observation_size}: they are of different envs"
        )
    check_there(real, trajectory)
    initial = rollout.mean(trajectory, 0), real.mean(trajectory, 0)
    if not np.allclose(*initial, rtol=1e-5, atol=1e-6):
        raise InputError(
            f"trajectory {trajectory} starts at {_list(initial[0])} in {rollout.path} and at "
            f"{_list(initial[1])} in {real.path}: they don't belong together; imagine evaluate "
            "--record real.h5 --imagined rollout.h5 writes two that do"
        )


def choose_dimensions(names: Sequence[str], words: Sequence[str], source: object) -> list[int]:
    """By name or number; without any, all, or the first 24. InputError if unknown."""
    if not words:
        return list(range(len(names)))[:_MOST_DIMENSIONS]
    chosen = []
    for word in words:
        if word not in names and not (word.isdecimal() and int(word) < len(names)):
            raise InputError(f"{source} has no dimension {word!r}; it has {', '.join(names)}")
        chosen.append(names.index(word) if word in names else int(word))
    return list(dict.fromkeys(chosen))


def choose_columns(rollout: Rollout, words: Sequence[str]) -> list[int]:
    """As :func:`choose_dimensions`; without any, up to 6 of the action's and the reward too."""
    names, size = column_names(rollout), rollout.observation_size
    if words:
        return choose_dimensions(names, words, rollout.path)
    others = range(size, size + len(rollout.action_names))[:_MOST_ACTIONS]
    reward = [len(names) - 1] if "reward/mean" in rollout else []
    return [*range(size)[:_MOST_DIMENSIONS], *others, *reward]


def _columns(rollout: Rollout, moment: str, trajectory: int, steps: np.ndarray) -> np.ndarray:
    """``(N, C)`` means, or variances, which are 0 where the file has none."""
    parts = [_picked(rollout, f"observation/{moment}", trajectory, steps)]
    at = np.minimum(steps, rollout.steps - 1)
    for group, size in (("action", len(rollout.action_names)), ("reward", 1)):
        if f"{group}/{moment}" in rollout:
            values = _picked(rollout, f"{group}/{moment}", trajectory, at)
            parts.append(values.reshape(len(at), size))
        elif f"{group}/mean" in rollout:
            parts.append(np.zeros((len(at), size)))
    return np.concatenate(parts, axis=-1)


def _picked(rollout: Rollout, dataset: str, trajectory: int, steps: np.ndarray) -> np.ndarray:
    """``(N, D)`` of one trajectory (variances of a covariance), ``(N,)`` of its rewards,
    ``(P, N, D)`` of its particles."""
    parts = []
    for rows, some in rollout.slabs(dataset, trajectory):
        here = steps[(steps >= some.start) & (steps < some.stop)] - some.start
        if not len(here):
            continue
        block = rollout.numbers(dataset, rows, some)[0]
        if dataset.startswith("particles"):
            parts.append(block[:_MOST_PARTICLES, here])
        elif dataset.endswith("/var") and not dataset.startswith("reward"):
            parts.append(np.diagonal(block[here], axis1=-2, axis2=-1))
        else:
            parts.append(block[here])
    axis = 1 if dataset.startswith("particles") else 0
    values = np.concatenate(parts, axis).astype(np.float64)
    return np.asarray(np.where(np.isfinite(values), values, np.nan))


def _list(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:6])
    return f"[{shown}{', ...' if len(values) > 6 else ''}]"
