"""Small sparse Gaussian processes, with the data they were made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.world_models import GaussianProcessWorldModel, SparseGPWorldModel
from tests.helpers.gp_models import random_model

__all__ = ["random_sparse", "sparse_of"]


def random_sparse(
    seed: int, outputs: int, actions: int, *, points: int, n: int, units: bool = True, **given: Any
) -> tuple[SparseGPWorldModel, GaussianProcessWorldModel]:
    """``points`` inducing points beside ``n`` random data, and the GP with all of the data."""
    whole = random_model(seed, outputs, actions, n, units=units)
    g = torch.Generator().manual_seed(seed + 1)
    spread = whole.inputs.std(0)
    z = whole.inputs.mean(0) + spread * torch.randn(
        points, outputs + actions, generator=g, dtype=torch.float64
    )
    return sparse_of(whole, z, **given), whole


def sparse_of(whole: GaussianProcessWorldModel, z: Tensor, **given: Any) -> SparseGPWorldModel:
    """With the data and hyperparameters of a GP."""
    return SparseGPWorldModel.from_hyperparameters(
        z, whole.inputs, whole.targets, whole.lengthscales, whole.signal_variances,
        whole.noise_variances, **given,
    )  # fmt: skip
