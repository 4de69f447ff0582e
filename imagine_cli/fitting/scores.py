"""How well a world model predicts real transitions one step ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.fitting.collect import Transitions
from imagine_cli.progress import Progress, Silent
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional

__all__ = ["Scores", "marginals", "score", "score_reward", "score_world_model"]

# The 97.5 % quantile of the standard normal distribution.
Z = 1.959963984540054

# The batch size of transitions that go through a world model.
_CHUNK = 100


@dataclass(frozen=True)
class Scores:
    """Scores of Gaussian marginals, each ``(D,)``, over ``count`` transitions.

    Attributes:
        count: N.
        rmse: root mean squared error of the mean, in the observation's units.
        nll: mean negative log likelihood, in nats.
        coverage: the share of transitions inside the central 95 % interval.
    """

    count: int
    rmse: np.ndarray
    nll: np.ndarray
    coverage: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Plain data. Overall, the errors are pooled, the rest is averaged over dimensions."""
        return {
            "transitions": self.count,
            "rmse": self.rmse.tolist(),
            "nll": self.nll.tolist(),
            "coverage_95": self.coverage.tolist(),
            "overall": {
                "rmse": float(np.sqrt(np.mean(np.square(self.rmse)))),
                "nll": float(self.nll.mean()),
                "coverage_95": float(self.coverage.mean()),
            },
        }


def score(mean: np.ndarray, var: np.ndarray, actual: np.ndarray) -> Scores:
    """Scores of ``N(mean, var)`` for ``actual``; each argument ``(N, D)``, ``var`` >= 0.

    What is certain and right has a negative log likelihood of minus infinity; what is certain and
    wrong one of infinity, which outweighs the other.
    """
    error = actual - mean
    certain = var == 0.0
    some = np.where(certain, 1.0, var)
    nll = 0.5 * (np.log(2.0 * np.pi * some) + np.square(error) / some)
    nll = np.where(certain, np.where(error == 0.0, -np.inf, np.inf), nll)
    with np.errstate(invalid="ignore"):
        average = np.where(np.isposinf(nll).any(axis=0), np.inf, nll.mean(axis=0))
    return Scores(
        count=len(actual),
        rmse=np.sqrt(np.mean(np.square(error), axis=0)),
        nll=average,
        coverage=np.mean(np.abs(error) <= Z * np.sqrt(var), axis=0),
    )


def score_world_model(
    model: WorldModel, transitions: Transitions, *, progress: Progress | None = None
) -> Scores:
    """Scores of a world model's next observation, each step from the real observation."""
    progress = progress or Silent()
    observations = torch.as_tensor(transitions.observations).to(model.dtype)
    actions = torch.as_tensor(transitions.actions).to(model.dtype)
    progress.stage("scoring", len(observations))
    means, variances = [], []
    with torch.no_grad():
        for begin in range(0, len(observations), _CHUNK):
            some = observations[begin : begin + _CHUNK]
            act = ActionBelief(actions[begin : begin + _CHUNK])
            prediction = model.predict(point(some), act)
            means.append(prediction.mean.double().numpy())
            variances.append(prediction.var.diagonal(dim1=-2, dim2=-1).double().numpy())
            progress.advance(len(some))
    return score(np.concatenate(means), np.concatenate(variances), transitions.next_observations)


def marginals(model: WorldModel, transitions: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the next observation, ``(N, D)`` each, from points."""
    at = _conditional(model, transitions)
    var = at.var if at.is_diagonal else at.var.diagonal(dim1=-2, dim2=-1)
    return at.mean.double().numpy(), var.expand(at.mean.shape).double().numpy()


def score_reward(model: WorldModel, transitions: Transitions) -> Scores:
    """Scores of a world model's reward, each step from the real observation: ``(1,)`` each."""
    at = _conditional(model, transitions)
    if at.reward_mean is None or at.reward_var is None:
        raise ValueError(f"a world model of kind {model.kind!r} without a reward can't be scored")
    mean, var = at.reward_mean.double().numpy(), at.reward_var.double().numpy()
    return score(mean[:, None], var[:, None], transitions.rewards[:, None])


def _conditional(model: WorldModel, transitions: Transitions) -> Conditional:
    with torch.no_grad():
        found: Conditional = model.conditional(
            torch.as_tensor(transitions.observations).to(model.dtype),
            torch.as_tensor(transitions.actions).to(model.dtype),
        )
    return found
