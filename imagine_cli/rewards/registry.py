"""From a spec to a reward."""

from __future__ import annotations

from imagine_cli.errors import InputError
from imagine_cli.registry import REWARDS, is_users_own
from imagine_cli.rewards.base import Reward, RewardContext


def make_reward(spec: str, context: RewardContext) -> Reward:
    """The reward that ``spec`` names.

    Args:
        spec: ``saturating:target=...;width=...``, ``quadratic:target=...;weight=...;action=...``,
            ``model``, ``env``, ``env:approximate``, ``module:function``, or ``name`` or
            ``name:argument`` of a reward that another package adds by an entry point in the group
            ``imagine_cli.rewards``: a callable ``(argument, context)``.
        context: what it is made from.

    Raises:
        InputError: no such reward, or it doesn't suit the env or the world model.
    """
    name, _, argument = spec.partition(":")
    if name in REWARDS:
        reward = REWARDS.load(name)(argument, context)
    else:
        if not is_users_own(spec):
            raise InputError(
                f"no reward {spec!r}; there is {', '.join(REWARDS)}, and module:function "
                "for one of your own"
            )
        from imagine_cli.rewards.function import find_function

        reward = find_function(spec)
    if not isinstance(reward, Reward):
        raise InputError(
            f"reward {spec!r}: the package that offers it returned a {type(reward).__name__}, "
            "not an imagine_cli.rewards.Reward"
        )
    reward.name = spec
    return reward
