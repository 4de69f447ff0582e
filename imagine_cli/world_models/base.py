"""What every world model of ours answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.errors import InputError
from imagine_cli.world_models.interfaces import Prediction, SupportsMoments
from imagine_cli.world_models.linearize import linearize
from imagine_cli.world_models.model_error import ModelError
from imagine_cli.world_models.precision import check_cast

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class WorldModel(TensorDictModuleBase):  # type: ignore[misc]
    """A model of ``p(next observation | observation, action)`` that carries beliefs.

    As a TensorDictModule it reads ``"action"`` (a tensor, or ``mean``, ``var`` and
    ``cross_covariance`` below it) and ``"observation"`` (a tensor, or ``mean`` and ``var`` below
    it) and writes ``("next", "observation", "mean")`` and ``("next", "observation", "var")``, and
    ``("next", "reward", "mean")`` and ``("next", "reward", "var")``, ``(*B, 1)``, where it models
    a reward. Without a TensorDict, :meth:`predict` is the same step.

    What more it can be asked, and so which propagations fit it, are the protocols of
    :mod:`~imagine_cli.world_models.interfaces` whose methods it has.

    Attributes:
        kind: the name it has in checkpoints and on the command line.
        propagation: the name of its default one (:mod:`imagine_cli.propagation`).
        observation_size: D.
        action_size: F.
        dtype: of the beliefs that go in and come out.
        has_reward: whether predictions carry a reward.
        differentiable: whether they have derivatives.
        model_error: what of its variances persists along a trajectory, where that is known. What
            it says of one step from a point is the same with it.
    """

    kind: ClassVar[str]
    propagation: ClassVar[str] = "linearized"
    differentiable: ClassVar[bool] = True

    observation_size: int
    action_size: int
    dtype: torch.dtype
    has_reward: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.model_error: ModelError | None = None
        self.in_keys = ["action", "observation"]
        self.out_keys = [("next", "observation", "mean"), ("next", "observation", "var")]

    @property
    def has_reward_var(self) -> bool:
        """Whether predictions carry a reward's variance beside its mean."""
        return self.has_reward

    def predict(self, belief: Belief, action: ActionBelief) -> Prediction:
        """One imagined step from a belief ``(*B, D)``, ``(*B, D, D)`` and an action ``(*B, F)``.

        Exact in mean and covariance where the model knows its moments; otherwise to first order
        around the mean.
        """
        model: Any = self
        # Of an instance a protocol asks anew at every call, which takes ten microseconds.
        if not issubclass(type(self), SupportsMoments):
            if not self.differentiable:
                raise InputError(
                    f"a world model of kind {self.kind!r} has no derivatives, to first order in "
                    f"which a belief goes on; imagine with it by the propagation {self.propagation}"
                )
            return linearize(model, belief, action)
        found: Prediction = model.moments(belief, action)
        return found

    def predict_from(self, tensordict: TensorDictBase) -> Prediction:
        """:meth:`predict` of a TensorDict's ``"observation"`` and ``"action"``."""
        return self.predict(
            read_observation(tensordict, self.dtype),
            read_action(tensordict, self.action_size, self.dtype),
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """From now on, predict by compiled functions, where this kind has any that are faster.

        In place, as :meth:`torch.nn.Module.compile`, whose arguments change nothing here. What
        comes out is the same to rounding. The first time on a machine takes seconds. Where there
        is nothing to gain (another kind, dtype or device) everything goes on as before.

        Raises:
            MissingExtraError: the extra "compile" is not installed.
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WorldModel:
        """Every cast and move. Raises InputError where a cast would make another model of it."""
        check_cast(self, fn)
        applied: WorldModel = super()._apply(fn, recurse)
        return applied

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        prediction = self.predict_from(tensordict)
        tensordict.set(("next", "observation", "mean"), prediction.mean)
        tensordict.set(("next", "observation", "var"), prediction.var)
        reward = prediction.reward_mean, prediction.reward_var
        for part, value in zip(("mean", "var"), reward, strict=True):
            if value is not None:
                tensordict.set(("next", "reward", part), value.unsqueeze(-1))
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
