"""Modules that are exported in tests."""

from __future__ import annotations

from typing import Any

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor
from torch.nn import functional

__all__ = ["Network", "Plain", "sequential"]


class Plain(torch.nn.Module):
    """A function of observations and actions as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, observation: Tensor, action: Tensor) -> Any:
        return self.function(observation, action)


class Network(torch.nn.Module):
    """A network of odd widths that gives what is asked for, of D = 3, F = 2."""

    def __init__(self, *gives: str, difference: bool = False, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(5, 50), torch.nn.SiLU(), torch.nn.LayerNorm(50), torch.nn.Linear(50, 33)
        )
        self.mean = torch.nn.Linear(33, 3)
        self.spread = torch.nn.Linear(33, 9)
        self.reward = torch.nn.Linear(33, 1)
        self.register_buffer("scale", torch.tensor([0.5, 1.0, 2.0]))
        self.constant = torch.tensor([0.1, 0.2, 0.3])
        self.gives, self.difference = gives, difference

    def forward(self, observation: Tensor, action: Tensor) -> tuple[Tensor, ...]:
        hidden = torch.tanh(self.body(torch.cat([observation, action], dim=-1)))
        mean = self.mean(hidden) * self.scale + self.constant.to(hidden.dtype)
        root = self.spread(hidden).view(hidden.shape[0], 3, 3)
        reward = self.reward(hidden)
        found = {
            "mean": mean if self.difference else observation + mean,
            "var": functional.softplus(root[:, 0]) + 0.01,
            "covariance": root @ root.mT + 0.1 * torch.eye(3, dtype=root.dtype),
            "reward": reward,
            "reward_var": reward[:, 0].square() + 1.0,
        }
        return tuple(found[name] for name in self.gives)


def sequential() -> TensorDictSequential:
    """A TensorDictSequential with an entry on the way that is no output of a world model."""
    torch.manual_seed(0)
    together = TensorDictModule(
        lambda o, a: torch.cat([o, a], dim=-1), ["observation", "action"], ["both"]
    )
    network = TensorDictModule(torch.nn.Linear(5, 6), ["both"], ["raw"])
    outputs = [("next", "observation", "mean"), ("next", "observation", "var"), ("next", "reward")]
    split = TensorDictModule(
        lambda o, r: (o + r[:, :3], r[:, 3:].exp(), -r.square().sum(-1, keepdim=True)),
        ["observation", "raw"],
        outputs,
    )
    return TensorDictSequential(together, network, split)
