"""What every way of propagating a belief answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from tensordict import TensorDictBase

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.world_models.base import WorldModel, read_action, read_observation
from imagine_cli.world_models.interfaces import Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from imagine_cli.propagation.noise import Noise
    from imagine_cli.rewards.base import Reward

State = dict[str, "Tensor"]
"""What a propagation carries from step to step beside the belief: tensors ``(*B, ...)`` by name."""


class Carried(NamedTuple):
    """One tensor of a :data:`State`: its shape after ``*B``, its dtype, and for whole numbers how
    many values there are, 0 to ``choices - 1``."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    choices: int | None = None


class Propagation(ABC):
    """One way to carry a Gaussian belief through a world model, step by step.

    It remembers nothing itself: what must go from step to step is in the :data:`State` that
    :meth:`begin` makes and :meth:`step` hands on, so that it can live in an env's TensorDict.

    Attributes:
        name: what it is called on the command line.
        needs: what a world model must be for it: a protocol, a class, or one of several.
        certain: whether its beliefs are points, of zero variance.
    """

    name: ClassVar[str]
    needs: ClassVar[type | UnionType] = WorldModel
    certain: ClassVar[bool] = False

    @property
    def description(self) -> str:
        """The name with every parameter that matters, as rollout files say it."""
        return self.name

    @classmethod
    def fits(cls, model: WorldModel) -> bool:
        """Whether a world model can be asked what it needs to know."""
        return isinstance(model, cls.needs)

    def suited(self, model: WorldModel) -> Propagation:
        """Itself, with what was left open settled for this model. Raises InputError."""
        return self

    def carried(self, model: Any) -> dict[str, Carried]:
        """What its states hold, by name; nothing where the belief is all there is."""
        return {}

    def numbers(self, model: Any) -> int:
        """How many numbers a trajectory has in memory beside the belief."""
        return sum(prod(carried.shape) for carried in self.carried(model).values())

    def begin(self, model: Any, belief: Belief, noise: Noise) -> State:
        """The state at a belief ``(*B, D)``, ``(*B, D, D)`` that a trajectory starts from."""
        return {}

    def points(self, state: State) -> Tensor | None:
        """The points ``(*B, P, D)`` that a policy acts at, where the belief is of any."""
        return None

    @abstractmethod
    def advance(
        self, model: Any, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        """One step: the next belief, and what is carried there.

        Args:
            model: the world model, which is what :attr:`needs` says.
            belief: ``(*B, D)``, ``(*B, D, D)``, in the model's dtype.
            action: ``(*B, F)``, perhaps with a covariance; ``(*B, P, F)`` at :meth:`points`.
            state: of :meth:`begin` or the step before.
            noise: where random numbers come from, ``(*B, ...)`` each.
        """

    def step(
        self,
        model: Any,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
        reward: Reward | None = None,
    ) -> tuple[Prediction, State]:
        """:meth:`advance`, with ``reward`` in place of the model's own where one is given."""
        prediction, state = self.advance(model, belief, action, state, noise)
        if reward is not None:
            mean, var = reward.moments(belief, action, prediction)
            prediction = prediction._replace(reward_mean=mean, reward_var=var)
        return prediction, state

    def step_from(
        self, model: Any, tensordict: TensorDictBase, noise: Noise
    ) -> tuple[Prediction, State]:
        """:meth:`step` from a TensorDict ``(*B,)`` with ``"observation"``, ``"action"`` and what
        is carried below ``"propagation"``."""
        carried = tensordict.get("propagation", None)
        return self.step(
            model,
            read_observation(tensordict, model.dtype),
            read_action(tensordict, model.action_size, model.dtype),
            {} if carried is None else dict(carried.items()),
            noise,
        )
