"""What the policies with parameters, those of checkpoints, have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imagine_cli.belief import ActionBelief, Belief, product, symmetrise
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.world_models.linearize import jacobian
from imagine_cli.world_models.tiles import in_tiles

_POINTS = 128  # that are answered at a time
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class ParametricPolicy(nn.Module, Policy):
    """A policy with parameters, which can be saved, loaded and trained.

    It acts at points as :meth:`respond_at` says, and at beliefs as :meth:`respond` does.

    Attributes:
        kind: the name it has in checkpoints.
        batch_size: how many beliefs it answers at a time.
        observation_size: D.
        action_size: F.
    """

    acts_at_points = True

    kind: ClassVar[str]
    batch_size: ClassVar[int] = 32

    observation_size: int
    action_size: int

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return self.forward(observation), state

    def forward(self, observation: Belief) -> ActionBelief:
        """The action at beliefs of any batch shape ``(*B, D)``, ``(*B, D, D)``."""
        shape = observation.mean.shape[:-1]
        size = self.observation_size
        rows = torch.cat([observation.mean.unsqueeze(-2), observation.var], -2)
        rows = rows.reshape(-1, size + 1, size)

        def answer(some: Tensor) -> tuple[Tensor, ...]:
            action = self.respond(Belief(some[:, 0], some[:, 1:]))
            return tuple(part for part in action if part is not None)

        parts = in_tiles(answer, rows, self.batch_size)
        return ActionBelief(*(part.reshape(*shape, *part.shape[1:]) for part in parts))

    def respond(self, observation: Belief) -> ActionBelief:
        """The action at a belief ``(B, D)``, ``(B, D, D)``, where B is always :attr:`batch_size`.

        Where a subclass has nothing better it is by linearization at the mean, ``u(x) ≈ u(μ) +
        J (x - μ)``: ``E[u] = u(μ)``, ``cov[u] = J Σ Jᵀ``, ``cov[x, u] = Σ Jᵀ``.

        With matrices that are :func:`~imagine_cli.world_models.tiles.padded`, a belief's action
        then depends on that belief alone, whatever else is acted on, to the bit.
        """
        mean, var = observation
        slope, u = jacobian(lambda x: (self.respond_at(x),) * 2, mean)
        return ActionBelief(u, symmetrise(product(product(slope, var), slope.mT)), slope.mT)

    def at(self, x: Tensor) -> Tensor:
        """The actions ``(*S, F)`` at points ``(*S, D)``, to rounding those of :meth:`forward`."""
        rows = x.reshape(-1, self.observation_size)
        (u,) = in_tiles(lambda some: (self.respond_at(some),), rows, _POINTS)
        return u.reshape(*x.shape[:-1], -1)

    @abstractmethod
    def respond_at(self, x: Tensor) -> Tensor:
        """The actions ``(N, F)`` at points ``(N, D)``: what :meth:`respond` is at beliefs."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists) that with the state dict makes the policy again."""

    @classmethod
    @abstractmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> ParametricPolicy:
        """The inverse of :meth:`config` and ``state_dict``, for ``env``.

        Raises InputError on bad data, and on sizes that are not the env's.
        """


def take(
    state: Mapping[str, Tensor], names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> list[Tensor]:
    """The tensors ``names`` of a state dict: there, finite, float and of these shapes; no others.

    A size of -1 is any size. Raises InputError.
    """
    if set(state) != set(names):
        raise InputError(f"its state has {_names(state)} where {_names(names)} belong")
    for name in names:
        tensor, shape = state[name], shapes[name]
        fits = len(shape) == tensor.dim() and all(
            want in (-1, got) for want, got in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            want = "(" + ", ".join("any" if n == -1 else str(n) for n in shape) + ")"
            raise InputError(f"{name} has the shape {tuple(tensor.shape)} where {want} belongs")
        if tensor.dtype not in _DTYPES or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} holds something other than finite floating-point numbers")
    return [state[name] for name in names]


def choice(config: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    """``config[key]``, one of ``known``, of which the first is the default."""
    value = config.get(key, known[0])
    if value not in known:
        raise InputError(f"its {key} is {value!r}; there is {', '.join(known)}")
    return str(value)


def _names(names: Sequence[str] | Mapping[str, Any]) -> str:
    listed = [str(name) for name in list(names)[:6]]
    more = ", ..." if len(names) > 6 else ""
    return (", ".join(listed) or "nothing") + more
