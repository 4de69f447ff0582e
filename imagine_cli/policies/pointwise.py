"""Policies that act at points, and by what they do there on beliefs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, product, symmetrise
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.world_models.linearize import jacobian
from imagine_cli.world_models.tiles import in_tiles

POINTS = 128
"""How many points are answered at a time."""


class PointPolicy(TensorDictModuleBase, Policy):  # type: ignore[misc]
    """A module that acts at points as :meth:`respond_at` says, at beliefs as :meth:`respond` does.

    Of a TensorDict of :class:`~imagine_cli.ImaginedEnv` it reads the belief, and writes below
    ``"action"`` what torchrl's RBFController does: ``"mean"``, ``"var"``, ``"cross_covariance"``.

    Attributes:
        batch_size: how many beliefs it answers at a time.
        observation_size: D.
        action_size: F.
    """

    acts_at_points = True

    in_keys: ClassVar[list[Any]] = [("observation", "mean"), ("observation", "var")]
    out_keys: ClassVar[list[Any]] = [("action", "mean")]
    batch_size: ClassVar[int] = 32

    observation_size: int
    action_size: int

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return self._forward(observation), state

    def forward(self, observation: Any) -> Any:
        """The action at beliefs of any batch shape ``(*B, D)``, ``(*B, D, D)``.

        A TensorDict with such beliefs gets the action, and is returned.
        """
        if isinstance(observation, TensorDictBase):
            action = self._forward(Belief(*(observation.get(key) for key in self.in_keys)))
            parts = {k: part for k, part in action._asdict().items() if part is not None}
            return observation.set("action", TensorDict(parts, observation.batch_size))
        return self._forward(observation)

    def _forward(self, observation: Belief) -> ActionBelief:
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
        (u,) = in_tiles(lambda some: (self.respond_at(some),), rows, POINTS)
        return u.reshape(*x.shape[:-1], -1)

    @abstractmethod
    def respond_at(self, x: Tensor) -> Tensor:
        """The actions ``(N, F)`` at points ``(N, D)``: what :meth:`respond` is at beliefs."""
