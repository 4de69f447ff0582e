"""A linear-Gaussian env, and world models of it that are right or wrong by a known factor."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from tensordict.nn import TensorDictModule

A = np.array([[0.9, 0.2], [-0.1, 0.8]])
B = np.array([[0.5], [1.0]])
Q = np.array([[0.04, 0.012], [0.012, 0.09]])
ENV_ID = "tests.helpers.linear_world:LinearWorld-v0"


class LinearWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """``x' = A x + B u + N(0, Q)``; ends above ``limit`` in its first number."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, limit: float = np.inf) -> None:
        self.limit = limit

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self.state.copy(), {}

    def step(self, action: np.ndarray) -> Any:
        noise = self.np_random.multivariate_normal(np.zeros(2), Q)
        self.state = A @ self.state + B @ np.asarray(action, dtype=np.float64) + noise
        ended = bool(self.state[0] > self.limit)
        return self.state.copy(), float(-self.state @ self.state), ended, False, {}


gymnasium.register("LinearWorld-v0", entry_point=LinearWorld)


class _Linear(torch.nn.Module):
    def __init__(self, spread: float, shift: float) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(A))
        self.b = torch.nn.Parameter(torch.tensor(B))
        self.q = torch.nn.Parameter(torch.tensor(spread * Q))
        self.shift = shift

    def forward(self, action: Any, observation: Any) -> Any:
        mean, var = observation["mean"], observation["var"]
        after = mean @ self.a.mT + action.to(self.a.dtype) @ self.b.mT + self.shift
        return after, self.a @ var @ self.a.mT + self.q


def linear_model(spread: float = 1.0, shift: float = 0.0) -> TensorDictModule:
    """``spread`` times the true variances at every horizon; ``shift`` is added at every step."""
    keys: Any = [("next", "observation", "mean"), ("next", "observation", "var")]
    return TensorDictModule(
        _Linear(spread, shift), in_keys=["action", "observation"], out_keys=keys
    )
