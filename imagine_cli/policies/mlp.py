"""The network policy: a multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.parametric import ParametricPolicy, choice, take
from imagine_cli.world_models.tiles import padded

_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class MLPPolicy(ParametricPolicy):
    """A deterministic network, through which a belief goes by its linearization.

    For a Box, ``u = low + (high - low) (1 + tanh(y)) / 2``, ``u = y`` within the bounds, or
    ``u = y``; for a discrete env the largest of the outputs of each choice, one-hot (and so without
    a gradient).

    Args:
        env: whose sizes and bounds it has.
        hidden: the sizes of the hidden layers; none makes it linear.
        activation: ``"tanh"`` or ``"relu"``, between the layers.
        squash: ``"tanh"``, ``"clip"`` or ``"none"``; a discrete env ignores it.
        dtype: of the parameters.

    State dict: ``layers.K.weight`` ``(out, in)`` and ``layers.K.bias`` ``(out,)`` for K = 0, 1, ...
    """

    kind = "mlp"

    low: Tensor
    high: Tensor

    def __init__(
        self,
        env: EnvDescription,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        squash: str = "tanh",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self._choices = list(env.choices)
        self.gives_variance = not env.is_discrete
        self._hidden, self._activation, self._squash = list(hidden), activation, squash
        bounds = np.stack([env.action_low, env.action_high])
        if not env.is_discrete and squash == "tanh" and not np.isfinite(bounds).all():
            raise InputError(
                f"it squashes its actions into bounds, which env {env.id!r} doesn't have; "
                "its config may say squash none"
            )
        sizes = [env.observation_size, *self._hidden, env.action_size]
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs, dtype=dtype) for inputs, outputs in pairwise(sizes)
        )
        self.register_buffer("low", torch.as_tensor(bounds[0], dtype=dtype), persistent=False)
        self.register_buffer("high", torch.as_tensor(bounds[1], dtype=dtype), persistent=False)

    def respond_at(self, x: Tensor) -> Tensor:
        value = padded(x.to(self.low.dtype), -1)
        layer: Any
        for k, layer in enumerate(self.layers):
            if k > 0:
                value = _ACTIVATIONS[self._activation](value)
            weight, bias = padded(layer.weight, -1, -2), padded(layer.bias, -1)
            value = nn.functional.linear(value, weight, bias)
        return self._to_action(value[..., : self.action_size]).to(x.dtype)

    def _to_action(self, value: Tensor) -> Tensor:
        if self._choices:
            parts = torch.split(value, self._choices, dim=-1)
            codes = [nn.functional.one_hot(p.argmax(-1), p.shape[-1]) for p in parts]
            return torch.cat(codes, dim=-1)
        if self._squash == "none":
            return value
        if self._squash == "clip":
            return torch.clamp(value, self.low, self.high)
        share = 0.5 * (1.0 + torch.tanh(value))
        return self.low * (1.0 - share) + self.high * share

    def config(self) -> dict[str, Any]:
        return {"hidden": self._hidden, "activation": self._activation, "squash": self._squash}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> MLPPolicy:
        hidden = config.get("hidden")
        if not isinstance(hidden, list) or not all(type(n) is int and n > 0 for n in hidden):
            raise InputError(f"its hidden sizes are {hidden!r}, not a list of positive integers")
        activation = choice(config, "activation", list(_ACTIVATIONS))
        squash = choice(config, "squash", ("tanh", "clip", "none"))
        sizes = [env.observation_size, *hidden, env.action_size]
        shapes: dict[str, tuple[int, ...]] = {}
        for k, (inputs, outputs) in enumerate(pairwise(sizes)):
            shapes[f"layers.{k}.weight"] = (outputs, inputs)
            shapes[f"layers.{k}.bias"] = (outputs,)
        tensors = take(state, list(shapes), shapes)
        policy = cls(env, hidden, activation, squash, tensors[0].dtype)
        policy.load_state_dict(dict(zip(shapes, tensors, strict=True)))
        return policy
