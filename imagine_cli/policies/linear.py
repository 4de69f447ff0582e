"""The linear policy, ``u = W x + b``, its moments exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imagine_cli.belief import ActionBelief, Belief, symmetrise
from imagine_cli.environments import EnvDescription
from imagine_cli.policies.parametric import (
    ParametricPolicy,
    max_action_for,
    require_continuous,
    take,
)
from imagine_cli.policies.squash import squash_sin
from imagine_cli.world_models.tiles import padded

__all__ = ["LinearPolicy"]


class LinearPolicy(ParametricPolicy):
    """``u = W x + b``, or ``u = m sin(W x + b)``.

    A Gaussian belief goes through it exactly: ``cov[u] = W Σ Wᵀ``, ``cov[x, u] = Σ Wᵀ``.

    Args:
        weight: W, ``(F, D)``.
        bias: b, ``(F,)``.
        max_action: m, ``(F,)``; None for no squashing.
    """

    kind = "linear"
    gives_variance = True

    max_action: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor, max_action: Tensor | None = None) -> None:
        super().__init__()
        self.action_size, self.observation_size = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.register_buffer("max_action", max_action, persistent=False)

    def respond(self, observation: Belief) -> ActionBelief:
        mean, var = observation
        weight, size = self.weight.to(mean), self.action_size
        wide, wide_var = padded(weight, -1, -2), padded(var, -1, -2)
        u = (padded(mean, -1) @ wide.mT)[..., :size] + self.bias.to(mean)
        u_var = symmetrise((wide @ wide_var @ wide.mT)[..., :size, :size])
        cross = weight.mT.expand(*mean.shape[:-1], -1, -1)
        if self.max_action is None:
            return ActionBelief(u, u_var, cross)
        squashed = squash_sin(u, u_var, self.max_action.to(mean))
        return ActionBelief(squashed.mean, squashed.var, cross * squashed.slope.unsqueeze(-2))

    def at(self, x: Tensor) -> Tensor:
        u = x @ self.weight.to(x).mT + self.bias.to(x)
        return u if self.max_action is None else self.max_action.to(x) * u.sin()

    def config(self) -> dict[str, Any]:
        squash = "none" if self.max_action is None else "sin"
        bounds = None if self.max_action is None else self.max_action.tolist()
        return {"squash": squash, "max_action": bounds}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> LinearPolicy:
        require_continuous(cls.kind, env)
        shapes = {"weight": (env.action_size, env.observation_size), "bias": (env.action_size,)}
        weight, bias = take(state, ["weight", "bias"], shapes)
        config = {"squash": "none", **config}
        return cls(weight, bias, max_action_for(config, env, weight.dtype))
