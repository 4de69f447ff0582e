"""What a world model can be asked, as protocols: a propagation names the one that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief

UNLIMITED = 2**62
"""How many members a distribution over functions has: each whole number below names one."""


class Prediction(NamedTuple):
    """The belief over the next observation, and over the reward where the model has one.

    ``mean`` ``(*B, D)``, ``var`` ``(*B, D, D)``, ``reward_mean`` and ``reward_var`` ``(*B,)``.
    ``slope``, where it is known, is ``E[∂x'/∂x̃]`` ``(*B, D, D+F)`` over the belief, so that
    ``cov[x', y] = slope cov[x̃, y]`` of whatever is Gaussian together with x̃.
    """

    mean: Tensor
    var: Tensor
    reward_mean: Tensor | None = None
    reward_var: Tensor | None = None
    slope: Tensor | None = None


class Conditional(NamedTuple):
    """The distribution of the next observation, and of the reward, at points ``*S``.

    ``mean`` is ``(*S, D)``. ``var`` is either ``(*S, D)``, variances of independent dimensions,
    or a covariance ``(*S, D, D)`` whose leading axes may have length 1 where it is the same
    everywhere. ``reward_mean`` and ``reward_var`` are ``(*S,)``, None without a reward.
    """

    mean: Tensor
    var: Tensor
    reward_mean: Tensor | None = None
    reward_var: Tensor | None = None

    @property
    def is_diagonal(self) -> bool:
        """Whether ``var`` holds variances."""
        return self.var.ndim == self.mean.ndim

    @property
    def covariance(self) -> Tensor:
        """``var`` as a matrix at each point."""
        return torch.diag_embed(self.var) if self.is_diagonal else self.var


@runtime_checkable
class SupportsMoments(Protocol):
    """Knows the first two moments of what becomes of a Gaussian belief, in closed form."""

    def moments(self, belief: Belief, action: ActionBelief) -> Prediction:
        """One step from a belief ``(*B, D)``, ``(*B, D, D)`` and an action ``(*B, F)``, exact."""


@runtime_checkable
class SupportsPoints(Protocol):
    """Can be asked at points, as every propagation by points or derivatives does.

    Attributes:
        model_error: a :class:`~imagine_cli.world_models.model_error.ModelError`, or None.
    """

    observation_size: int
    dtype: torch.dtype
    if TYPE_CHECKING:  # isinstance does not see a module's modules, from Python 3.12 on
        model_error: Any

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        """The next observation's distribution at points ``x`` ``(*S, D)``, ``u`` ``(*S, F)``.

        Each point's answer depends on that point alone, whatever is computed beside it, to the
        bit; where members are given, perhaps also on the length of the last axis of ``*S``, which
        is one trajectory's particles. Differentiable in x and u, by autograd and by torch.func.

        Args:
            x: observations, in the model's dtype.
            u: actions.
            member: which member answers, ``(*S,)`` int64; None for all of them together, as the
                mean and variance of their mixture. Models without members ignore it. The same
                number is the same member whenever it is asked.
        """


@runtime_checkable
class SupportsLatent(Protocol):
    """Carries a latent state of its own from step to step, which observations only begin.

    Attributes:
        latent_size: L.
        noise_size: how many standard normal numbers a step takes.
        model_error: None.
    """

    observation_size: int
    dtype: torch.dtype
    if TYPE_CHECKING:  # isinstance does not see a module's modules, from Python 3.12 on
        model_error: Any
    latent_size: int
    noise_size: int

    def encode(self, x: Tensor, noise: Tensor) -> Tensor:
        """The latent states ``(*S, L)`` that begin at observations ``(*S, D)``, from standard
        normal numbers ``(*S, noise_size)``. Each depends on its own point alone, to the bit."""

    def advance(self, latent: Tensor, u: Tensor, noise: Tensor) -> tuple[Tensor, Conditional]:
        """The latent states after actions ``u`` ``(*S, F)``, and the observation's distribution
        given each."""


@runtime_checkable
class HasMembers(Protocol):
    """Is made of models that a particle may follow.

    Attributes:
        members: how many there are; :data:`UNLIMITED` where it is a distribution over functions,
            each number then naming one that is drawn from it.
        member_size: how many numbers a member that is drawn takes in memory.
    """

    members: int
    member_size: int


def member_count(model: Any) -> int:
    """How many members a model is made of: 1 where it is one."""
    count: int = getattr(model, "members", 1)
    return count
