"""Random linear systems and beliefs in them, and one step of one in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.world_models import LinearGaussianWorldModel

__all__ = ["belief_in", "linear_model", "numpy_step"]


def linear_model(
    size: int, actions: int, seed: int = 0, *, reward: bool = True, **given: Any
) -> LinearGaussianWorldModel:
    g = np.random.default_rng(seed)
    a = np.linalg.qr(g.normal(size=(size, size)))[0] * 0.97
    root = g.normal(size=(size, size)) * 0.1
    rewards: dict[str, Any] = {}
    if reward:
        rewards = {
            "reward_weights": g.normal(size=size + actions),
            "reward_offset": g.normal(),
            "reward_variance": 0.3,
        }
    return LinearGaussianWorldModel.from_parameters(
        a, g.normal(size=(size, actions)), g.normal(size=size), root @ root.T, **rewards, **given
    )


def belief_in(
    size: int, actions: int, seed: int, *, batch: int = 2, rank: int | None = None,
    policy: bool = True,
) -> tuple[Belief, ActionBelief]:  # fmt: skip
    """A belief ``(batch, size)``, and an action that depends on it linearly, with noise."""
    g = np.random.default_rng(seed)
    root = g.normal(size=(batch, size, size if rank is None else rank))
    var = root @ root.swapaxes(-1, -2)
    u = torch.tensor(g.normal(size=(batch, actions)))
    belief = Belief(torch.tensor(g.normal(size=(batch, size))), torch.tensor(var))
    if not policy:
        return belief, ActionBelief(u)
    gain = torch.tensor(g.normal(size=(batch, size, actions)))
    noise = torch.tensor(g.normal(size=(batch, actions, actions)))
    action_var = gain.mT @ belief.var @ gain + noise @ noise.mT
    return belief, ActionBelief(u, 0.5 * (action_var + action_var.mT), gain)


def numpy_step(
    model: LinearGaussianWorldModel, belief: Belief, action: ActionBelief
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, covariance, reward mean and variance, written out block by block."""
    a, b = model.transition.numpy(), model.control.numpy()
    x, s = belief.mean.numpy(), belief.var.numpy()
    u = action.mean.numpy()
    f = u.shape[-1]
    s_u = np.zeros((len(x), f, f)) if action.var is None else action.var.numpy()
    c = np.zeros((len(x), x.shape[-1], f))
    if action.cross_covariance is not None:
        c = s @ action.cross_covariance.numpy()
    means, variances, rewards, reward_vars = [], [], [], []
    for k in range(len(x)):
        means.append(a @ x[k] + b @ u[k] + model.offset.numpy())
        cross = a @ c[k] @ b.T
        variances.append(
            a @ s[k] @ a.T + cross + cross.T + b @ s_u[k] @ b.T + model.noise_covariance.numpy()
        )
        w_x, w_u = np.split(model.reward_weights.numpy(), [x.shape[-1]])
        rewards.append(w_x @ x[k] + w_u @ u[k] + float(model.reward_offset))
        reward_vars.append(
            w_x @ s[k] @ w_x + 2 * w_x @ c[k] @ w_u + w_u @ s_u[k] @ w_u
            + float(model.reward_variance)
        )  # fmt: skip
    return np.array(means), np.array(variances), np.array(rewards), np.array(reward_vars)
