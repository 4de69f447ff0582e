"""What of a model's variances persists along a trajectory, by likelihood of real stretches.

The means of stretches with the actions that were really taken, the slopes along them and the
variances there don't depend on the error (:mod:`imagine_cli.world_models.model_error`), and so
are found once. Covariances follow from them to first order, as ``linearized`` finds them; in an
ensemble those of each member, which stays the same along a stretch, and their mixture. What is
maximised over ρ and φ is the mean over the horizons, 1 to 25, of the mean log-likelihood of the
dimensions. R are the correlations of the errors one step ahead.

Nothing persists where that gains less than 0.01 nats a dimension, and what so many parameters find
in noise, about one for each stretch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, product
from imagine_cli.fitting.horizons import windows
from imagine_cli.progress import Progress
from imagine_cli.threads import one_thread
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import UNLIMITED, Conditional, Prediction, member_count
from imagine_cli.world_models.linearize import jacobian
from imagine_cli.world_models.model_error import ModelError, variances_at

HORIZON = 25
_FEWEST, _MOST, _MOST_NUMBERS = 10, 400, 60_000
# Dimensions: the matrices of 20 stretches and their derivatives take a gigabyte.
_LARGEST = 64
_ITERATIONS = 100
_LEAST_GAIN = 0.01
# A pull of the parameters towards nothing in particular, which a flat likelihood leaves open.
_PULL = 1e-3


class _Paths(NamedTuple):
    """Stretches as M members see them, each entry of its steps ``(M, W, ...)``; then what was
    real ``(W, T, D)`` and where there was any ``(W, T)``."""

    at: list[Conditional]
    slopes: list[Tensor]
    real: Tensor
    there: Tensor


@one_thread()
def fit_model_error(
    model: WorldModel, data: Transitions, rows: np.ndarray, progress: Progress
) -> tuple[ModelError | None, dict[str, Any]]:
    """The error that suits the stretches ``rows`` of ``data``, and what the metadata say of it.

    None where there are too few stretches, too many dimensions, or nothing is gained.
    """
    size = model.observation_size
    if size > _LARGEST:
        return None, {"stretches": 0, "left_out": f"{size} dimensions, more than {_LARGEST}"}
    most = min(_MOST, max(2 * _FEWEST, _MOST_NUMBERS // size**2))
    found = windows(data.episode, rows, HORIZON, most)
    found = type(found)(*(part[found.length > 1] for part in found))
    if len(found.start) < _FEWEST:
        return None, {"stretches": len(found.start)}
    paths = _paths(model, data, found.start, found.length, progress)
    correlation = _correlation(paths)
    counts = paths.there.sum(0)
    enough = counts >= min(_FEWEST, int(counts.max()))

    def likelihood(error: ModelError | None) -> Tensor:
        """The mean negative log-likelihood of the dimensions, ``(W, T)``."""
        mean, var = _beliefs(paths, error)
        terms = 0.5 * ((paths.real - mean).square() / var + var.log() + math.log(2 * math.pi))
        return terms.mean(-1)

    def by_horizon(terms: Tensor) -> Tensor:
        return ((terms * paths.there).sum(0) / counts)[enough]

    def loss(parameters: Tensor) -> Tensor:
        error = ModelError(*_constrained(parameters), correlation)
        return by_horizon(likelihood(error)).mean() + _PULL * parameters.square().mean()

    parameters = _minimise(loss, torch.tensor([-1.0] * size + [1.5], dtype=torch.float64))
    with torch.no_grad():
        error = ModelError(*_constrained(parameters), correlation)
        before, after = likelihood(None), likelihood(error)
        gain = float(by_horizon(before).mean() - by_horizon(after).mean())
    horizons = [h for h in (1, 5, 10, HORIZON) if h <= len(counts) and enough[h - 1]]
    summary: dict[str, Any] = {
        "stretches": len(found.start),
        "horizons": horizons,
        "nll_without": [float(by_horizon(before)[h - 1]) for h in horizons],
        "nll_with": [float(by_horizon(after)[h - 1]) for h in horizons],
        "gain": gain,
    }
    if not gain >= _LEAST_GAIN + 1.0 / len(found.start):
        return None, summary
    return error, summary | {
        "share": error.share.tolist(),
        "persistence": float(error.persistence),
    }


def _paths(
    model: WorldModel,
    data: Transitions,
    start: np.ndarray,
    length: np.ndarray,
    progress: Progress,
) -> _Paths:
    horizon, size = int(length.max()), model.observation_size
    rows = start[:, None] + np.minimum(np.arange(horizon), length[:, None] - 1)
    actions = torch.as_tensor(data.actions[rows]).to(model.dtype)
    members = member_count(model)
    count = 1 if members >= UNLIMITED else members
    x = torch.as_tensor(data.observations[start]).to(model.dtype).expand(count, -1, -1)
    member = torch.arange(count)[:, None].expand(x.shape[:-1]) if count > 1 else None
    asked: Any = model

    def means(points: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        at = asked.conditional(points[..., :size], points[..., size:], member)
        return at.mean, (at.mean, at.var)

    ats, slopes = [], []
    progress.stage("calibrating steps ahead", horizon)
    for step in range(horizon):
        u = actions[:, step].expand(count, -1, -1)
        with torch.no_grad():
            slope, (x, var) = jacobian(means, torch.cat([x, u], dim=-1))
        ats.append(Conditional(x.double(), var.double()))
        slopes.append(slope[..., :size].double())
        progress.advance()
    real = torch.as_tensor(data.next_observations[rows]).double()
    return _Paths(ats, slopes, real, torch.as_tensor(np.arange(horizon) < length[:, None]))


def _beliefs(paths: _Paths, error: ModelError | None) -> tuple[Tensor, Tensor]:
    """Means and variances ``(W, T, D)`` along the stretches."""
    var = torch.zeros_like(paths.slopes[0])
    cross = torch.zeros_like(var)
    means, variances = [], []
    for at, slope in zip(paths.at, paths.slopes, strict=True):
        belief, action = Belief(at.mean, var), ActionBelief(at.mean[..., :0])
        var = product(product(slope, var), slope.mT) + at.covariance
        if error is not None:
            prediction = Prediction(at.mean, var, slope=slope)
            prediction, cross = error.carry(prediction, belief, action, cross)
            var = prediction.var
        mean = at.mean.mean(0)
        within = var.diagonal(dim1=-2, dim2=-1).mean(0)
        means.append(mean)
        variances.append(within + (at.mean - mean).square().mean(0))
    return torch.stack(means, dim=1), torch.stack(variances, dim=1)


def _correlation(paths: _Paths) -> Tensor:
    """Of the errors one step ahead, in units of what was predicted; few of them far off."""
    mean = paths.at[0].mean.mean(0)
    spread = variances_at(paths.at[0]).mean(0) + (paths.at[0].mean - mean).square().mean(0)
    z = ((paths.real[:, 0] - mean) / spread.sqrt()).nan_to_num().clamp(-3.0, 3.0)
    second = z.mT @ z / len(z) + 1e-6 * torch.eye(z.shape[1], dtype=z.dtype)
    scale = second.diagonal().rsqrt()
    correlation = scale.unsqueeze(-1) * second * scale
    return correlation.diagonal_scatter(torch.ones_like(scale))


def _constrained(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """ρ and φ of unbounded numbers; an error of a thousand steps is one for ever."""
    return parameters[:-1].sigmoid(), 0.999 * parameters[-1].sigmoid()


def _minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Adam: D + 1 numbers, and a function that is smooth but for stretches that explode."""
    parameters, best = start.clone().requires_grad_(), (math.inf, start)
    optimizer = torch.optim.Adam([parameters], lr=0.1)
    for _ in range(_ITERATIONS):
        optimizer.zero_grad()
        value = loss(parameters)
        if float(value.detach()) < best[0]:
            best = float(value.detach()), parameters.detach().clone()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not torch.isfinite(parameters).all():
            break
    return best[1]
