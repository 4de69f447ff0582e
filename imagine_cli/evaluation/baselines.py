"""What a world model has to beat: no change, and a linear-Gaussian model of the same data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imagine_cli.evaluation.real import RealRun
from imagine_cli.evaluation.scores import ScoreKeeper, Scores
from imagine_cli.recording.schema import chunk_lengths

__all__ = ["LinearGaussian", "fit_linear_gaussian", "linear_gaussian", "no_change"]


class LinearGaussian(NamedTuple):
    """``x' = A x + B u + c + ε``, ``ε ~ N(0, Q)``: A ``(D, D)``, B ``(D, F)``, c, Q ``(D, D)``."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    q: np.ndarray


def fit_linear_gaussian(run: RealRun) -> LinearGaussian:
    """Least squares over every real transition; Q is the residuals' second moment."""
    there = run.lengths[:, None] > np.arange(run.steps)
    now, after = run.observations[:, :-1][there], run.observations[:, 1:][there]
    inputs = np.concatenate([now, run.actions[there], np.ones((len(now), 1))], axis=1)
    weights = np.linalg.lstsq(inputs, after, rcond=None)[0]
    residuals = after - inputs @ weights
    size = now.shape[1]
    return LinearGaussian(
        weights[:size].T, weights[size:-1].T, weights[-1], residuals.T @ residuals / len(now)
    )


def linear_gaussian(run: RealRun) -> Scores:
    """The scores of the linear-Gaussian model that is fitted to the run itself.

    Seeing the very data that it is judged by favours it: what beats it does better than that.
    """
    model = fit_linear_gaussian(run)
    keeper = ScoreKeeper(run.observations, run.lengths)
    covariances = [np.zeros_like(model.q)]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(run.steps):
            covariances.append(model.a @ covariances[-1] @ model.a.T + model.q)
    var = np.stack(covariances[1:])
    rows = _lengths(keeper)[0]
    for first in range(0, run.trajectories, rows):
        some = slice(first, first + rows)
        mean, means = run.observations[some, 0], []
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(run.steps):
                mean = mean @ model.a.T + run.actions[some, step] @ model.b.T + model.c
                means.append(mean)
        _keep(keeper, first, np.stack(means, axis=1), var)
    return keeper.scores()


def no_change(run: RealRun) -> Scores:
    """The scores of the forecast that the start stays as it is, for certain."""
    keeper = ScoreKeeper(run.observations, run.lengths)
    rows = _lengths(keeper)[0]
    var = np.zeros((run.steps, keeper.size, keeper.size))
    for first in range(0, run.trajectories, rows):
        start = run.observations[first : first + rows, :1]
        _keep(keeper, first, np.repeat(start, run.steps, axis=1), var)
    return keeper.scores()


def _keep(keeper: ScoreKeeper, first: int, mean: np.ndarray, var: np.ndarray) -> None:
    """``mean`` ``(b, T, D)`` and ``var`` ``(T, D, D)`` of steps 1 to T, some at a time."""
    length = _lengths(keeper)[1]
    for step in range(0, mean.shape[1], length):
        some = slice(step, step + length)
        covariances = np.broadcast_to(var[some], (len(mean), *var[some].shape))
        keeper.add(first, step + 1, mean[:, some], covariances)


def _lengths(keeper: ScoreKeeper) -> tuple[int, int]:
    """How many trajectories and steps are scored together."""
    return chunk_lengths(len(keeper.observations), keeper.steps, keeper.size**2 * 8)
