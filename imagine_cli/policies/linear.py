"""The linear policy, ``u = W x + b``, its moments exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imagine_cli.belief import Belief, symmetrise
from imagine_cli.environments import EnvDescription
from imagine_cli.policies.parametric import take
from imagine_cli.policies.squashed import SquashedPolicy, max_action_for
from imagine_cli.world_models.tiles import padded


class LinearPolicy(SquashedPolicy):
    """``u = W x + b``, or ``u = m sin(W x + b)``.

    A Gaussian belief goes through it exactly: ``cov[u] = W Σ Wᵀ``, ``cov[x, u] = Σ Wᵀ``.

    Args:
        weight: W, ``(F, D)``.
        bias: b, ``(F,)``.
        max_action: m, ``(F,)``; None for no squashing.
    """

    kind = "linear"

    def __init__(self, weight: Tensor, bias: Tensor, max_action: Tensor | None = None) -> None:
        super().__init__(max_action)
        self.action_size, self.observation_size = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def before_squashing(self, observation: Belief) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = observation
        weight, size = self.weight.to(mean), self.action_size
        wide, wide_var = padded(weight, -1, -2), padded(var, -1, -2)
        u = (padded(mean, -1) @ wide.mT)[..., :size] + self.bias.to(mean)
        u_var = symmetrise((wide @ wide_var @ wide.mT)[..., :size, :size])
        return u, u_var, weight.mT.expand(*mean.shape[:-1], -1, -1)

    def respond_at(self, x: Tensor) -> Tensor:
        wide = padded(self.weight.to(x), -1, -2)
        u = (padded(x, -1) @ wide.mT)[..., : self.action_size] + self.bias.to(x)
        return u if self.max_action is None else self.max_action.to(x) * u.sin()

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> LinearPolicy:
        shapes = {"weight": (env.action_size, env.observation_size), "bias": (env.action_size,)}
        weight, bias = take(state, ["weight", "bias"], shapes)
        config = {"squash": "none", **config}
        return cls(weight, bias, max_action_for(cls.kind, config, env, weight.dtype))
