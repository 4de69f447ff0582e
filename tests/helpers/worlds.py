"""Small world models and envs that several tests use."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from tensordict.nn import TensorDictModule

from imagine_cli.world_models import GaussianProcessWorldModel

OUT = [("next", "observation", "mean"), ("next", "observation", "var")]


class SeedDummy(torch.nn.Module):
    """The toy world model of torchrl's documentation of ImaginedEnv."""

    def __init__(self, obs_dim: int) -> None:
        super().__init__()
        self.obs_dim = obs_dim

    def forward(self, action: Any, observation: Any) -> Any:
        mean = observation.get("mean", observation)
        var = torch.eye(self.obs_dim).expand(*mean.shape[:-1], -1, -1)
        return mean, var


def seed_dummy(obs_dim: int) -> TensorDictModule:
    return TensorDictModule(SeedDummy(obs_dim), in_keys=["action", "observation"], out_keys=OUT)


class LinearDynamics(torch.nn.Module):
    """x' = x A' + u B', Σ' = A Σ A' + Q: parameters in the dtype asked for."""

    def __init__(self, size: int, actions: int, dtype: torch.dtype, reward: str = "") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        a = 0.9 * torch.eye(size) + 0.05 * torch.randn(size, size, generator=generator)
        b = 0.1 * torch.randn(size, actions, generator=generator)
        self.a = torch.nn.Parameter(a.to(dtype))
        self.b = torch.nn.Parameter(b.to(dtype))
        self.reward = reward

    def forward(self, action: Any, observation: Any) -> Any:
        mean, var = observation["mean"], observation["var"]
        next_mean = mean @ self.a.mT + action.to(self.b.dtype) @ self.b.mT
        next_var = self.a @ var @ self.a.mT + 0.01 * torch.eye(len(self.a), dtype=self.a.dtype)
        if not self.reward:
            return next_mean, next_var
        reward = -(next_mean.square().sum(-1, keepdim=True))
        if self.reward == "mean":
            return next_mean, next_var, reward
        return next_mean, next_var, reward, torch.full_like(reward, 0.25)


def linear_module(
    size: int, actions: int, dtype: torch.dtype = torch.float32, reward: str = ""
) -> TensorDictModule:
    """``reward``: "" for none, "mean" for ("next", "reward"), "both" for mean and var of it."""
    keys: list[Any] = list(OUT)
    if reward == "mean":
        keys += [("next", "reward")]
    elif reward == "both":
        keys += [("next", "reward", "mean"), ("next", "reward", "var")]
    module = LinearDynamics(size, actions, dtype, reward)
    return TensorDictModule(module, in_keys=["action", "observation"], out_keys=keys)


def small_gp(size: int, actions: int, n: int = 12, seed: int = 0) -> GaussianProcessWorldModel:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, size + actions, generator=generator, dtype=torch.float64)
    weights = torch.randn(size + actions, size, generator=generator, dtype=torch.float64)
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs,
        0.1 * torch.sin(inputs @ weights),
        torch.full((size, size + actions), 2.0),
        torch.full((size,), 0.05),
        torch.full((size,), 1e-4),
    )


class MultiDiscreteEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A real env with a MultiDiscrete action: two numbers that two choices push."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self.state.copy(), {}

    def step(self, action: np.ndarray) -> Any:
        self.state = 0.9 * self.state + 0.1 * np.asarray(action)
        return self.state.copy(), float(-np.square(self.state).sum()), False, False, {}
