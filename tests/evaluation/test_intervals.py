"""Intervals against Monte Carlo: how often they hold the number that they are about."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from imagine_cli.evaluation.intervals import deciding, interval, standard_error

RUNS = 3000


def errors_of(run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of ``(runs, n)``."""
    sums = np.stack([run.sum(1), np.square(run).sum(1)])
    return run.mean(1), standard_error(sums, np.array(run.shape[1]))


def held(metric: str, true: float, value: np.ndarray, error: np.ndarray, n: int, d: int) -> float:
    low, high = interval(metric, value, error, n, d)
    assert ((low <= value) & (value <= high)).all()
    return float(((low <= true + 1e-9) & (true - 1e-9 <= high)).mean())


@pytest.mark.parametrize(("n", "least"), [(10, 0.84), (40, 0.90), (300, 0.93)])
@pytest.mark.parametrize(("d", "correlation"), [(1, 0.0), (4, 0.0), (4, 0.9), (17, 0.5)])
def test_19_of_20_intervals_hold_what_they_are_about(
    n: int, least: float, d: int, correlation: float
) -> None:
    rng = np.random.default_rng(n + d)
    runs = RUNS if d * n < 2000 else RUNS // 3
    common, own = rng.normal(size=(runs, n, 1)), rng.normal(size=(runs, n, d))
    z = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    chance = 4 * np.sqrt(0.05 * 0.95 / runs)
    for level in (0.5, 0.8, 0.95):
        inside = (np.abs(z) <= stats.norm.ppf(0.5 + level / 2)).mean(-1)
        assert held("coverage95", level, *errors_of(inside), n, d) > 0.93 - chance
    # Of a skewed mean of few numbers fewer: those that fell short have small errors too.
    square, error = errors_of(np.square(z).mean(-1))
    root = np.sqrt(square)
    assert held("rmse", 1.0, root, error / (2 * root), n, 1) > min(least + 0.02, 0.94) - chance
    assert held("nll", 0.5, *errors_of(0.5 * np.square(z).mean(-1)), n, 1) > least - chance
    mean = np.sqrt(2 / np.pi)
    assert (
        held("crps", mean, *errors_of(np.abs(z).mean(-1)), n, 1) > min(least + 0.04, 0.94) - chance
    )
    for shift in (0.0, 1.0):
        bias, errors = (z + shift).mean(1), z.std(1, ddof=1) / np.sqrt(n)
        found = held("absolute bias", shift, np.abs(bias).mean(-1), errors.mean(-1), n, 1)
        assert found > 0.95 - chance


def test_a_share_of_one_dimension_has_clopper_and_pearsons_interval() -> None:
    for n in (1, 7, 60):
        for inside in range(n + 1):
            share = inside / n
            error = np.sqrt(share * (1 - share) / n)
            found = interval("mahalanobis50", share, error, n)
            wanted = stats.binomtest(inside, n).proportion_ci(0.95, method="exact")
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("metric", "value", "threshold", "forecasts"),
    [("coverage95", 0.93, 0.9, 4), ("coverage95", 1.0, 0.9, 1), ("rmse", 0.2, 0.19, 1),
     ("nll", -3.0, -2.9, 1), ("bias", 0.1, 0.0, 1), ("calibration", 0.05, 0.04, 1)],
)  # fmt: skip
def test_so_many_trajectories_decide_and_one_fewer_does_not(
    metric: str, value: float, threshold: float, forecasts: int
) -> None:
    error, count = 0.03, 20
    many = deciding(metric, value, error, count, threshold, forecasts)
    assert many is not None
    for n, decided in ((many, True), (many - 1, False)):
        low, high = interval(metric, value, error * np.sqrt(count / n), n, forecasts)
        assert (not low <= threshold <= high) is decided
    assert deciding(metric, value, error, count, value, forecasts) is None


def test_one_trajectory_says_nothing_of_its_error() -> None:
    error = standard_error(np.array([3.0, 9.0]), np.array(1))
    assert interval("nll", 3.0, error, 1) == (-np.inf, np.inf)
    assert interval("rmse", 3.0, error, 1) == (0.0, np.inf)
    assert deciding("rmse", 3.0, float(error), 1, 2.0) is None
