"""Small ensembles, and what they give at a point written out in numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from imagine_cli.world_models import EnsembleWorldModel

__all__ = ["constant_ensemble", "numpy_network", "random_ensemble"]


def random_ensemble(
    size: int,
    actions: int,
    members: int = 5,
    *,
    hidden: tuple[int, ...] = (16, 24),
    reward: bool = False,
    seed: int = 0,
    weights: torch.dtype = torch.float64,
    **given: Any,
) -> EnsembleWorldModel:
    g = torch.Generator().manual_seed(seed)
    outputs = size + reward
    widths = [size + actions, *hidden, 2 * outputs]

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(weights)

    return EnsembleWorldModel.from_parameters(
        [normal(members, a, b) / a**0.5 for a, b in pairwise(widths)],
        [0.1 * normal(members, b) for b in widths[1:]],
        min_logvar=normal(outputs) - 6.0,
        max_logvar=normal(outputs) - 1.0,
        input_mean=normal(widths[0]),
        input_scale=normal(widths[0]).exp(),
        target_mean=0.1 * normal(outputs),
        target_scale=0.2 * normal(outputs).exp(),
        reward=reward,
        **given,
    )


def constant_ensemble(differences: list[float], sd: float) -> EnsembleWorldModel:
    """One dimension, one action; member k always adds ``differences[k]``, give or take ``sd``."""
    members = len(differences)
    logvar = 2 * np.log(sd)
    biases = torch.tensor([[each, logvar] for each in differences], dtype=torch.float64)
    return EnsembleWorldModel.from_parameters(
        [torch.zeros(members, 2, 2, dtype=torch.float64)],
        [biases],
        min_logvar=[-50.0],  # so far away that they bend nothing
        max_logvar=[50.0],
    )


def numpy_network(
    model: EnsembleWorldModel, index: int, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What network ``index`` says at inputs ``(N, D+F)``: means and variances ``(N, K)``."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def softplus(v: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, v)

    values = (at - state["input_mean"]) / state["input_scale"]
    layers = sum(name.startswith("weight") for name in state)
    for k in range(layers):
        values = values @ state[f"weight{k}"][index] + state[f"bias{k}"][index]
        if k < layers - 1:
            values = values / (1.0 + np.exp(-values))
    mean, logvar = np.split(values, 2, axis=1)
    logvar = state["max_logvar"] - softplus(state["max_logvar"] - logvar)
    logvar = state["min_logvar"] + softplus(logvar - state["min_logvar"])
    mean = state["target_mean"] + state["target_scale"] * mean
    return mean, state["target_scale"] ** 2 * np.exp(logvar)
