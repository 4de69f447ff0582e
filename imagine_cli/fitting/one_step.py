"""How well a world model predicts real transitions one step ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.progress import Progress, Silent
from imagine_cli.scores import Scores, score
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional

# The batch size of transitions that go through a world model.
_CHUNK = 100


def scores_document(scores: Scores) -> dict[str, Any]:
    """Plain data, as a checkpoint's metadata have it: of each dimension, and overall."""
    nll = scores.marginal["nll"]
    return {
        "transitions": int(scores.count),
        "rmse": scores.marginal["rmse"].tolist(),
        "nll": nll.tolist(),
        "coverage_95": scores.marginal["coverage95"].tolist(),
        "overall": {
            "rmse": float(scores.joint["rmse"]),
            "nll": float(nll.mean()),
            "coverage_95": float(scores.joint["coverage95"]),
        },
    }


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
