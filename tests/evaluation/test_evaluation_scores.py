from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import scoringrules
from scipy import stats

from imagine_cli.errors import MissingExtraError
from imagine_cli.evaluation.scores import PIT_BINS, ScoreKeeper, require_scores


def data(b: int, t: int, d: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(b, t, d, d))
    var = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(d)
    mean = rng.normal(size=(b, t, d))
    real = np.concatenate([np.zeros((b, 1, d)), mean + rng.normal(size=(b, t, d))], axis=1)
    return real, mean, var


def keep(keeper: ScoreKeeper, mean: np.ndarray, var: np.ndarray, rows: int, steps: int) -> None:
    for first in range(0, len(mean), rows):
        for step in range(0, mean.shape[1], steps):
            some = (slice(first, first + rows), slice(step, step + steps))
            keeper.add(first, step + 1, mean[some], var[some])


def test_every_score_against_scipy_one_by_one() -> None:
    b, t, d = 40, 3, 2
    real, mean, var = data(b, t, d)
    keeper = ScoreKeeper(real, np.full(b, t))
    keep(keeper, mean, var, 7, 2)
    scores = keeper.scores()
    assert scores.count.tolist() == [b] * t
    for h in range(1, t + 1):
        joint_nll, inside = [], []
        for k in range(b):
            y, m, v = real[k, h], mean[k, h - 1], var[k, h - 1]
            joint_nll.append(-stats.multivariate_normal(m, v).logpdf(y))
            distance = (y - m) @ np.linalg.solve(v, y - m)
            inside.append(stats.chi2(d).cdf(distance))
        np.testing.assert_allclose(scores.value("nll", h), np.mean(joint_nll), rtol=1e-12)
        counts = np.histogram(inside, PIT_BINS, (0, 1))[0]
        assert scores.joint_pit[h - 1].tolist() == counts.tolist()
        for level in (50, 90, 95):
            covered = np.mean(np.array(inside) <= level / 100)
            assert scores.value(f"mahalanobis{level}", h) == pytest.approx(covered, abs=1e-15)
        rmses = []
        for a in range(d):
            y, m, sd = real[:, h, a], mean[:, h - 1, a], np.sqrt(var[:, h - 1, a, a])
            normal = stats.norm(m, sd)
            rmses.append(np.mean((y - m) ** 2))
            wanted = {
                "rmse": np.sqrt(rmses[-1]),
                "bias": np.mean(m - y),
                "nll": np.mean(scoringrules.logs_normal(y, m, sd, backend="numpy")),
                "crps": np.mean([crps_by_integration(*row) for row in zip(y, m, sd, strict=True)]),
                "sharpness": np.mean(normal.ppf(0.95) - normal.ppf(0.05)),
            }
            for level in (50, 90, 95):
                low, high = normal.interval(level / 100)
                wanted[f"coverage{level}"] = np.mean((low <= y) & (y <= high))
            pit = normal.cdf(y)
            grid = np.arange(1, PIT_BINS) / PIT_BINS
            wanted["calibration"] = np.mean([abs(np.mean(pit < p) - p) for p in grid])
            for name, value in wanted.items():
                np.testing.assert_allclose(scores.value(name, h, a), value, rtol=1e-9, atol=1e-14)
            counts = np.histogram(pit, PIT_BINS, (0, 1))[0]
            assert scores.pit[h - 1, a].tolist() == counts.tolist()
        np.testing.assert_allclose(scores.value("rmse", h), np.sqrt(np.mean(rmses)), rtol=1e-12)


def crps_by_integration(y: float, mean: float, sd: float) -> float:
    """``∫ (F(x) − 1[x ≥ y])² dx`` by Gauss-Legendre on both sides of y."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = 0.0
    for low, high in ((min(y, mean) - 12 * sd, y), (y, max(y, mean) + 12 * sd)):
        x = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        inside = (stats.norm.cdf(x, mean, sd) - (x >= y)) ** 2
        total += 0.5 * (high - low) * float(weights @ inside)
    return total


def test_errors_are_those_of_a_bootstrap_over_trajectories() -> None:
    b, t, d = 200, 2, 3
    real, mean, var = data(b, t, d)
    lengths = 1 + np.arange(b) % 2
    real[:, 1:] += np.random.default_rng(1).normal(size=(b, 1, 1))  # shared by all dimensions
    keeper = ScoreKeeper(real, lengths)
    keep(keeper, mean, var, b, t)
    scores, draws = keeper.scores(), np.random.default_rng(2)
    names = [name for name in scores.joint if name not in ("bias", "calibration")]
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in [*names, "score", "x nll", "x bias"]}
    for _ in range(400):
        rows = draws.integers(0, b, b)
        again = ScoreKeeper(real[rows], lengths[rows])
        again._scale = keeper._scale
        keep(again, mean[rows], var[rows], b, t)
        found = again.scores()
        for name in names:
            drawn[name].append(found.joint[name])
        drawn["score"].append(np.array(found.score))
        drawn["x nll"].append(found.marginal["nll"])
        drawn["x bias"].append(found.marginal["bias"])
    low, high = scores.score_interval
    errors = {name: scores.joint_error[name] for name in names}
    errors |= {f"x {name}": scores.marginal_error[name] for name in ("nll", "bias")}
    errors["score"] = np.array(np.log(high / low) / 2 / stats.t.ppf(0.975, b - 1) * scores.score)
    for name, error in errors.items():
        # Of 400 draws a standard deviation is known to 3.5 %, and to first order in 1/b.
        np.testing.assert_allclose(error, np.std(drawn[name], axis=0), rtol=0.15, err_msg=name)
    assert (scores.intervals("nll")[:, 0] < scores.joint["nll"]).all()
    assert scores.interval("nll", 2, 1) == tuple(scores.intervals("nll", True)[1, 1])


def sampled(b: int, d: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reality and P particles from one correlated Gaussian: real, mean and covariance."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)) / np.sqrt(d) + 0.3 * np.eye(d)
    drawn = rng.normal(size=(b, p + 1, d)) @ root.T
    centred = drawn[:, 1:] - drawn[:, 1:].mean(1, keepdims=True)
    var = np.einsum("bpi,bpj->bij", centred, centred) / (p - 1)
    real = np.stack([np.zeros((b, d)), drawn[:, 0]], axis=1)
    return real, drawn[:, 1:].mean(1)[:, None], var[:, None]


@pytest.mark.parametrize(("d", "p"), [(17, 18), (17, 25), (17, 100), (3, 5), (1, 3)])
def test_a_perfect_model_of_few_particles_covers_what_it_says(d: int, p: int) -> None:
    b = 4000
    real, mean, var = sampled(b, d, p, seed=d + p)
    keeper, naive = (ScoreKeeper(real, np.ones(b, int), particles) for particles in (p, None))
    for each in (keeper, naive):
        keep(each, mean, var, 1000, 1)
    scores = keeper.scores()
    for level in (50, 90, 95):
        for metric in (f"mahalanobis{level}", f"coverage{level}"):
            low, high = scores.interval(metric, 1)
            allowed = 0.75 * (high - low)  # three standard errors
            assert abs(scores.value(metric, 1) - level / 100) < allowed, metric
    assert stats.chisquare(scores.joint_pit[0]).pvalue > 1e-3
    assert naive.scores().value("mahalanobis95", 1) < scores.value("mahalanobis95", 1)
    # Of all forecasts of y from the particles it is the better one, too.
    assert scores.value("nll", 1) < naive.scores().value("nll", 1)


def test_the_forecast_of_particles_is_students_distribution() -> None:
    b, d, p = 20, 3, 8
    real, mean, var = sampled(b, d, p, seed=0)
    keeper = ScoreKeeper(real, np.ones(b, int), p)
    keep(keeper, mean, var, b, 1)
    scores, joint, each = keeper.scores(), [], []
    for k in range(b):
        y, m, v = real[k, 1], mean[k, 0], var[k, 0]
        shape = v * (p + 1) * (p - 1) / (p * (p - d))
        joint.append(-stats.multivariate_t(m, shape, df=p - d).logpdf(y))
        sd = np.sqrt(np.diagonal(v) * (1 + 1 / p))
        each.append(stats.t(p - 1, m, sd))
    np.testing.assert_allclose(scores.value("nll", 1), np.mean(joint), rtol=1e-12)
    nll = np.mean([-f.logpdf(real[k, 1]) for k, f in enumerate(each)], axis=0)
    np.testing.assert_allclose(scores.marginal["nll"][0], nll, rtol=1e-12)
    width = np.mean([f.ppf(0.95) - f.ppf(0.05) for f in each], axis=0)
    np.testing.assert_allclose(scores.marginal["sharpness"][0], width, rtol=1e-9)
    pit = np.array([f.cdf(real[k, 1]) for k, f in enumerate(each)])
    for a in range(d):
        counts = np.histogram(pit[:, a], PIT_BINS, (0, 1))[0]
        assert scores.pit[0, a].tolist() == counts.tolist()


def test_no_more_particles_than_dimensions_have_no_joint_density() -> None:
    real, mean, var = sampled(50, 17, 10, seed=0)
    keeper = ScoreKeeper(real, np.ones(50, int), 10)
    keep(keeper, mean, var, 50, 1)
    scores = keeper.scores()
    np.testing.assert_allclose(scores.value("nll", 1), scores.marginal["nll"][0].sum(), rtol=1e-12)
    assert np.isnan(scores.value("mahalanobis95", 1))
    assert scores.joint_pit.sum() == 0
    assert np.isfinite(scores.interval("nll", 1)).all()


def test_a_dimension_that_is_constant_but_for_rounding_does_not_divide() -> None:
    real, mean, var = data(40, 2, 2)
    real[..., 1] = 2.3 + 1e-15 * np.arange(3)
    mean[..., 1], var[..., 1, 1] = 2.3, 1.0
    keeper = ScoreKeeper(real, np.full(40, 2))
    keep(keeper, mean, var, 40, 2)
    assert keeper.scores().score < 1.0


def test_how_blocks_are_cut_changes_nothing_but_rounding() -> None:
    real, mean, var = data(30, 11, 3)
    lengths = np.arange(30) % 12
    found = []
    for rows, steps in ((30, 11), (1, 1), (7, 4)):
        keeper = ScoreKeeper(real, lengths)
        keep(keeper, mean, var, rows, steps)
        found.append(keeper.scores())
    for other in found[1:]:
        assert (other.pit == found[0].pit).all()
        assert (other.joint_pit == found[0].joint_pit).all()
        for name, values in found[0].joint.items():
            np.testing.assert_allclose(other.joint[name], values, rtol=1e-12)


def test_what_comes_after_the_end_does_not_count() -> None:
    real, mean, var = data(4, 5, 2)
    lengths = np.array([5, 2, 0, 3])
    for k, length in enumerate(lengths):
        real[k, length + 1 :] = np.nan
    keeper = ScoreKeeper(real, lengths)
    keep(keeper, mean, var, 4, 5)
    scores = keeper.scores()
    assert scores.count.tolist() == [3, 3, 2, 1, 1]
    assert np.isfinite(scores.joint["nll"]).all()
    error = mean[[0, 3], 2] - real[[0, 3], 3]
    np.testing.assert_allclose(scores.value("rmse", 3), np.sqrt(np.mean(error**2)), rtol=1e-14)


def test_a_horizon_that_nothing_reaches_is_not_a_number() -> None:
    real, mean, var = data(2, 3, 2)
    keeper = ScoreKeeper(real, np.array([1, 2]))
    keep(keeper, mean, var, 2, 3)
    scores = keeper.scores()
    assert np.isnan(scores.value("rmse", 3))
    assert np.isnan(scores.value("calibration", 3, 0))


def test_zero_variance_is_the_limit_of_small_ones() -> None:
    real = np.array([[[0.0, 0.0], [1.0, -2.0]], [[0.0, 0.0], [0.0, 0.5]]])
    mean = np.zeros((2, 1, 2))
    certain, nearly = ScoreKeeper(real, np.ones(2, int)), ScoreKeeper(real, np.ones(2, int))
    certain.add(0, 1, mean, np.zeros((2, 1, 2, 2)))
    small = np.broadcast_to(1e-24 * np.eye(2), (2, 1, 2, 2))
    nearly.add(0, 1, mean, small)
    sure, near = certain.scores(), nearly.scores()
    for name in ("rmse", "bias", "crps", "energy", "coverage95", "mahalanobis95"):
        np.testing.assert_allclose(sure.value(name, 1), near.value(name, 1), atol=1e-11)
    assert sure.value("nll", 1) == np.inf
    assert sure.value("nll", 1, 0) != sure.value("nll", 1, 0)  # +inf and -inf: no mean
    assert sure.value("nll", 1, 1) == np.inf
    assert sure.value("coverage50", 1, 0) == 0.5
    assert sure.pit[0, 1].tolist() == [1, *[0] * 18, 1]


def test_far_out_the_likelihood_stays_finite() -> None:
    real = np.array([[[0.0], [1e3]]])
    keeper = ScoreKeeper(real, np.array([1]))
    keeper.add(0, 1, np.zeros((1, 1, 1)), np.ones((1, 1, 1, 1)))
    wanted = 5e5 + 0.5 * np.log(2 * np.pi)
    assert keeper.scores().value("nll", 1, 0) == pytest.approx(wanted, rel=1e-14)
    assert keeper.scores().value("nll", 1) == pytest.approx(wanted, rel=1e-14)


def test_a_covariance_that_is_not_finite_is_infinitely_bad() -> None:
    real, mean, var = data(3, 1, 2)
    var[1, 0] = np.inf
    keeper = ScoreKeeper(real, np.ones(3, int))
    keep(keeper, mean, var, 3, 1)
    scores = keeper.scores()
    assert scores.value("nll", 1) == np.inf
    assert scores.value("energy", 1) == np.inf


def test_without_the_extra_one_sentence_with_the_pip_line(monkeypatch: Any) -> None:
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "scoringrules":
            raise ImportError("no", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagine-cli\[evaluate\]'"):
        require_scores()


@pytest.mark.parametrize("size", [np.nan, np.inf, 1e308, 1e200])
@pytest.mark.parametrize("where", ["mean", "var", "both"])
def test_a_forecast_that_overflows_is_infinitely_bad(size: float, where: str) -> None:
    real, mean, var = data(6, 2, 2)
    if where != "var":
        mean[3, 1] = [size, -size]
    if where != "mean":
        var[3, 1] = size
    keeper = ScoreKeeper(real, np.full(6, 2))
    keep(keeper, mean, var, 6, 2)
    scores = keeper.scores()
    for name, values in (*scores.marginal.items(), *scores.joint.items()):
        assert np.isfinite(values[0]).all(), name
        assert not np.isnan(values[1]).any(), name
    if not np.isfinite(size):
        for name in ("rmse", "bias", "nll", "crps"):
            assert (scores.marginal[name][1] == np.inf).all()
            assert scores.joint[name][1] == np.inf
    assert scores.pit.sum(-1).tolist() == [[6, 6], [6, 6]]
    assert scores.joint_pit.sum(-1).tolist() == [6, 6]
