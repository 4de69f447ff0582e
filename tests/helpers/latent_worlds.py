"""A partly observed linear system as a world model with a latent state, and its moments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli import export_latent_world_model, load_world_model
from imagine_cli.world_models.latent import LatentWorldModel

__all__ = ["END", "HIDDEN", "A", "B", "C", "L", "R", "W", "exported", "latent_model", "moments"]

# Three numbers are seen of four: what can't be is HIDDEN ± 0.5 at first, and drives the rest.
A = np.array([[0.9, 0.1, 0.0, 0.4], [-0.1, 0.8, 0.1, 0.0], [0.0, 0.2, 0.7, -0.3], [0, 0, 0, 0.95]])
B = np.array([[0.1], [0.0], [0.3], [0.05]])
L = np.array([[0.05, 0.0], [0.02, 0.04], [0.0, 0.03], [0.06, -0.05]])
C = np.eye(3, 4)
R = np.array([0.01, 0.02, 0.005])
W = np.array([1.0, -0.5, 0.2, 0.7])
HIDDEN, END = 0.3, 0.1


def _tensor(array: np.ndarray) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(array, dtype=torch.float64))


class Encode(torch.nn.Module):
    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        return torch.cat([observation, HIDDEN + 0.5 * noise[:, :1]], dim=-1)


class Step(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.root = _tensor(A), _tensor(B), _tensor(L)

    def forward(self, latent: Tensor, action: Tensor, noise: Tensor) -> Tensor:
        return latent @ self.a.mT + action @ self.b.mT + noise @ self.root.mT


class Decode(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.r, self.w = _tensor(C), _tensor(R), _tensor(W)

    def forward(self, latent: Tensor) -> tuple[Tensor, ...]:
        mean, reward = latent @ self.c.mT, latent @ self.w
        return mean, torch.zeros_like(mean) + self.r, reward, END + 0.0 * reward


def exported(path: Path, **given: Any) -> Path:
    """The file of it, of the sizes of Pendulum-v1."""
    sizes = {"observation_size": 3, "action_size": 1, "noise_size": 2}
    export_latent_world_model(Encode(), Step(), Decode(), path, **{**sizes, **given})
    return path


def latent_model() -> LatentWorldModel:
    """It, loaded."""
    with TemporaryDirectory() as folder:
        model = load_world_model(exported(Path(folder) / "wm.pt2"))
    assert isinstance(model, LatentWorldModel)
    return model


def moments(x: np.ndarray, actions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Mean and covariance of the observation after each action, and the mean of what its reward
    adds to a return: a Kalman filter's predictions."""
    z, p = np.append(x, HIDDEN), np.diag([0.0, 0.0, 0.0, 0.25])
    for k, u in enumerate(actions):
        z, p = A @ z + B @ u, A @ p @ A.T + L @ L.T
        yield C @ z, C @ p @ C.T + np.diag(R), (1.0 - END) ** k * W @ z
