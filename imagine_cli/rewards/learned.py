"""The reward ``model``: what the world model itself has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reads, Reward, RewardContext, RewardMoments
from imagine_cli.world_models.interfaces import SupportsLatent

if TYPE_CHECKING:
    from imagine_cli.world_models.base import WorldModel
    from imagine_cli.world_models.interfaces import Prediction


class LearnedReward(Reward):
    """At points the mean of the model's reward given x and u; on beliefs what it predicted."""

    reads = Reads(x_next=())

    def __init__(self, model: WorldModel) -> None:
        self._model = model

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        reward: Tensor | None = self._model.conditional(x, u).reward_mean
        assert reward is not None
        return reward

    def moments(self, x: Belief, u: ActionBelief, x_next: Prediction) -> RewardMoments:
        mean, var = x_next.reward_mean, x_next.reward_var
        if mean is None:
            return super().moments(x, u, x_next)
        return RewardMoments(mean, mean.new_zeros(mean.shape) if var is None else var)


def make(argument: str, context: RewardContext) -> Reward:
    if argument:
        raise InputError(f"reward 'model:{argument}': 'model' takes no argument")
    if context.model is None or not context.model.has_reward:
        raise InputError(
            "reward 'model': the world model has learned no reward; give another one, such as "
            "env, saturating:..., quadratic:... or module:function"
        )
    if isinstance(context.model, SupportsLatent):
        raise InputError(
            "reward 'model': a world model with a latent state gives its reward as it goes on; "
            "leave the reward out, and that counts"
        )
    return LearnedReward(context.model)
