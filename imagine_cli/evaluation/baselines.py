"""What a world model has to beat: no change, and a linear-Gaussian model of the same data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imagine_cli.evaluation.real import RealRun
from imagine_cli.evaluation.run_scores import RunScores
from imagine_cli.evaluation.scores import ScoreKeeper
from imagine_cli.fitting.linear_gaussian import regress
from imagine_cli.recording.schema import chunk_lengths


class LinearGaussian(NamedTuple):
    """``x' = A x + B u + c + ε``, ``ε ~ N(0, Q)``: A ``(D, D)``, B ``(D, F)``, c, Q ``(D, D)``."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    q: np.ndarray


def fit_linear_gaussian(run: RealRun) -> LinearGaussian:
    """Ridge regression over every real transition, whose ridge suits the last fifth of them."""
    there = run.lengths[:, None] > np.arange(run.steps)
    now, after = run.observations[:, :-1][there], run.observations[:, 1:][there]
    inputs = np.concatenate([now, run.actions[there]], axis=1)
    found = regress(inputs, after - now, -(-4 * len(now) // 5))
    size = now.shape[1]
    a = np.eye(size) + found.weights[:, :size]
    return LinearGaussian(a, found.weights[:, size:], found.offset, found.covariance)


def linear_gaussian(run: RealRun) -> RunScores:
    """The scores of the linear-Gaussian model that is fitted to the run itself.

    Seeing the very data that it is judged by favours it: what beats it does better than that.
    """
    return _scores(run, fit_linear_gaussian(run))


def no_change(run: RealRun) -> RunScores:
    """The scores of the forecast that the start stays as it is, for certain: ``x' = x``."""
    size, actions = run.observations.shape[2], run.actions.shape[2]
    zero = np.zeros((size, size))
    return _scores(run, LinearGaussian(np.eye(size), np.zeros((size, actions)), zero[0], zero))


def _scores(run: RealRun, model: LinearGaussian) -> RunScores:
    """From each real start, under the real actions, some trajectories and steps at a time."""
    keeper = ScoreKeeper(run.observations, run.lengths)
    covariances = [np.zeros_like(model.q)]
    rows, length = chunk_lengths(run.trajectories, run.steps, keeper.size**2 * 8)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(run.steps):
            covariances.append(model.a @ covariances[-1] @ model.a.T + model.q)
    var = np.stack(covariances[1:])
    for first in range(0, run.trajectories, rows):
        mean, means = run.observations[first : first + rows, 0], []
        with np.errstate(over="ignore", invalid="ignore"):
            for action in run.actions[first : first + rows].swapaxes(0, 1):
                mean = mean @ model.a.T + action @ model.b.T + model.c
                means.append(mean)
        for step in range(0, run.steps, length):
            some = slice(step, step + length)
            steps_var = np.broadcast_to(var[some], (len(mean), *var[some].shape))
            keeper.add(first, step + 1, np.stack(means[some], axis=1), steps_var)
    return keeper.scores()
