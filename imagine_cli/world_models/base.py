"""What every world model of ours answers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, point

__all__ = [
    "UNLIMITED",
    "Conditional",
    "Prediction",
    "WorldModel",
    "read_action",
    "read_observation",
]

UNLIMITED = 2**62
"""How many members a distribution over functions has: each whole number below names one."""


class Prediction(NamedTuple):
    """The belief over the next observation, and over the reward where the model has one.

    ``mean`` ``(*B, D)``, ``var`` ``(*B, D, D)``, ``reward_mean`` and ``reward_var`` ``(*B,)``.
    """

    mean: Tensor
    var: Tensor
    reward_mean: Tensor | None = None
    reward_var: Tensor | None = None


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


class WorldModel(TensorDictModuleBase):  # type: ignore[misc]
    """A model of ``p(next observation | observation, action)`` that carries beliefs.

    As a TensorDictModule it reads ``"action"`` (a tensor, or ``mean``, ``var`` and
    ``cross_covariance`` below it) and ``"observation"`` (a tensor, or ``mean`` and ``var`` below
    it) and writes ``("next", "observation", "mean")`` and ``("next", "observation", "var")``, and
    ``("next", "reward", "mean")`` and ``("next", "reward", "var")``, ``(*B, 1)``, where it models
    a reward. Without a TensorDict, :meth:`predict` is the same step.

    Attributes:
        kind: the name it has in checkpoints and on the command line.
        propagations: the ways a belief can go through it (:mod:`imagine_cli.propagation`).
        propagation: which one of them is used where nobody says.
        members: how many models it is made of that a particle may follow; 1 where it is one,
            :data:`UNLIMITED` where it is a distribution over functions, each number then naming
            one that is drawn from it.
        member_size: how many numbers a member that is drawn takes in memory.
        observation_size: D.
        action_size: F.
        dtype: of the beliefs that go in and come out.
        has_reward: whether predictions carry a reward.
    """

    kind: ClassVar[str]
    propagations: ClassVar[tuple[str, ...]] = ("linearized", "unscented", "particles")
    propagation: ClassVar[str] = "linearized"

    observation_size: int
    action_size: int
    dtype: torch.dtype
    has_reward: bool = False
    members: int = 1
    member_size: int = 0

    def __init__(self) -> None:
        super().__init__()
        self.in_keys = ["action", "observation"]
        self.out_keys = [("next", "observation", "mean"), ("next", "observation", "var")]

    def predict(self, observation: Belief, action: ActionBelief) -> Prediction:
        """One imagined step from a belief ``(*B, D)``, ``(*B, D, D)`` and an action ``(*B, F)``.

        Exact in mean and covariance where ``"moments"`` is among :attr:`propagations`; otherwise
        this one, to first order around the mean.
        """
        from imagine_cli.propagation.linearized import linearize

        return linearize(self, observation, action)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """From now on, predict by compiled functions, where this kind has any that are faster.

        In place, as :meth:`torch.nn.Module.compile`, whose arguments change nothing here. What
        comes out is the same to rounding. The first time on a machine takes seconds. Where there
        is nothing to gain (another kind, dtype or device) everything goes on as before.

        Raises:
            MissingExtraError: the extra "compile" is not installed.
        """

    @abstractmethod
    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        """The next observation's distribution at points ``x`` ``(*S, D)``, ``u`` ``(*S, F)``.

        Each point's answer depends on that point alone, whatever is computed beside it, to the
        bit; where members are given, perhaps also on the length of the last axis of ``*S``, which
        is one trajectory's particles. Differentiable in x and u, by autograd and by torch.func.

        Args:
            x: observations, in :attr:`dtype`.
            u: actions.
            member: which of :attr:`members` answers, ``(*S,)`` int64; None for all of them
                together, as the mean and variance of their mixture. Models with one member
                ignore it. The same number is the same member whenever it is asked.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists) that with the state dict makes the model again."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> WorldModel:
        """The inverse of :meth:`config` and ``state_dict``. Raises InputError on bad data."""

    def describe(self) -> dict[str, Any]:
        """What ``imagine inspect`` shows of this model beside its kind and sizes: plain data."""
        return {}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        prediction = self.predict(
            read_observation(tensordict, self.dtype),
            read_action(tensordict, self.action_size, self.dtype),
        )
        tensordict.set(("next", "observation", "mean"), prediction.mean)
        tensordict.set(("next", "observation", "var"), prediction.var)
        if prediction.reward_mean is not None:
            tensordict.set(("next", "reward", "mean"), prediction.reward_mean.unsqueeze(-1))
        if prediction.reward_var is not None:
            tensordict.set(("next", "reward", "var"), prediction.reward_var.unsqueeze(-1))
        return tensordict


def read_observation(tensordict: TensorDictBase, dtype: torch.dtype) -> Belief:
    """The belief under ``"observation"``; a plain tensor there is certain."""
    observation = tensordict.get("observation")
    if isinstance(observation, Tensor):
        return point(observation.to(dtype))
    return Belief(observation.get("mean").to(dtype), observation.get("var").to(dtype))


def read_action(tensordict: TensorDictBase, size: int, dtype: torch.dtype) -> ActionBelief:
    """The action, or the belief over it, under ``"action"``; a Discrete one may be a number."""
    action = tensordict.get("action")
    if not isinstance(action, Tensor):
        var, cross = action.get("var", None), action.get("cross_covariance", None)
        return ActionBelief(
            action.get("mean").to(dtype),
            None if var is None else var.to(dtype),
            None if cross is None else cross.to(dtype),
        )
    if action.shape == tensordict.batch_size and not action.is_floating_point():
        action = torch.nn.functional.one_hot(action, size)
    return ActionBelief(action.to(dtype))
