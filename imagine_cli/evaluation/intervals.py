"""95 % intervals of scores that are means over independent trajectories, and how many decide.

At one horizon a trajectory has one forecast, so that a mean over trajectories has the standard
error of any mean of independent numbers. Where a mean is over dimensions too, a trajectory is a
cluster: its dimensions are averaged first. Nothing is resampled: a bootstrap of a coverage of
100 % would say that it is certain.
"""

from __future__ import annotations

import numpy as np

_LEVEL = 0.95
_MOST = 2**40


def interval(
    metric: str,
    value: np.ndarray | float,
    error: np.ndarray | float,
    count: np.ndarray | int,
    forecasts: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends, of the shape of ``value``; both ``value`` where that is not finite.

    ``coverage`` and ``mahalanobis``: Clopper and Pearson's of as many independent forecasts as
    the standard error is worth (Korn & Graubard 1998). ``bias`` and ``nll``: Student's. What is
    never negative: Student's for its logarithm.

    Args:
        metric: what ``value`` is, as :class:`~imagine_cli.scores.Scores` has it.
        error: its standard error; infinity where there is one trajectory.
        count: how many trajectories, 1 or more.
        forecasts: how many forecasts of each trajectory are averaged.
    """
    from scipy.special import stdtrit

    value, error = np.asarray(value, dtype=float), np.asarray(error, dtype=float)
    count = np.maximum(count, 1)
    student = stdtrit(np.maximum(count - 1, 1), 0.5 + _LEVEL / 2)
    with np.errstate(all="ignore"):
        if metric.startswith(("coverage", "mahalanobis")):
            low, high = _share(value, error, count, forecasts, student)
        elif metric in ("bias", "nll"):
            low, high = value - student * error, value + student * error
        elif metric in ("absolute bias", "calibration"):
            low, high = np.maximum(value - student * error, 0.0), value + student * error
        else:
            factor = np.where(error > 0, np.exp(student * error / value), 1.0)
            low, high = value / factor, value * factor
    known = np.isfinite(value)
    return np.where(known, low, value), np.where(known, high, value)


def deciding(
    metric: str, value: float, error: float, count: int, threshold: float, forecasts: int = 1
) -> int | None:
    """The least number of trajectories whose interval would leave ``threshold`` out.

    As far as can be told: were value and spread to stay as they are. None where none would.
    """

    def decided(many: int) -> bool:
        low, high = interval(metric, value, error * np.sqrt(count / many), many, forecasts)
        return bool(threshold < low or threshold > high)

    few, many = 1, 2
    while not decided(many):
        few, many = many, 2 * many
        if many > _MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    return many


def standard_error(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Of means of ``count`` numbers, from their sum ``sums[0]`` and that of their squares."""
    total, squares = sums
    with np.errstate(all="ignore"):
        variance = np.maximum(squares - total**2 / count, 0.0) / (count - 1)
        error = np.sqrt(variance / count)
    return np.where(np.isnan(error), np.inf, error)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by its standard error; NaN for one value."""
    count = len(values)
    spread = float(values.std(ddof=1)) if count > 1 else np.nan
    return float(values.mean()), 1.96 * spread / count**0.5


def _share(
    value: np.ndarray, error: np.ndarray, count: np.ndarray, forecasts: int, student: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import betaincinv, ndtri

    # A standard error that is itself an estimate is worth less by the quantiles' ratio.
    worth = value * (1.0 - value) / error**2 * (ndtri(0.5 + _LEVEL / 2) / student) ** 2
    many = np.where(error > 0, np.clip(worth, count, count * forecasts), count)
    inside, tail = value * many, 0.5 - _LEVEL / 2
    low = np.where(value > 0, betaincinv(np.maximum(inside, 1e-9), many - inside + 1, tail), 0.0)
    high = betaincinv(inside + 1, np.maximum(many - inside, 1e-9), 1.0 - tail)
    return low, np.where(value < 1, high, 1.0)
