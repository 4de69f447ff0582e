"""From a spec to a reward."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reward, RewardContext

__all__ = ["make_reward"]

# Each is called as make(argument, context) -> Reward.
Make = Callable[[str, RewardContext], Reward]

_NAMES = {
    "env": "imagine_cli.rewards.env:make",
    "model": "imagine_cli.rewards.learned:make",
    "quadratic": "imagine_cli.rewards.quadratic:make",
    "saturating": "imagine_cli.rewards.saturating:make",
}

_GROUP = "imagine_cli.rewards"


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
    make = _find(name)
    if make is None:
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", spec):
            raise InputError(
                f"no reward {spec!r}; there is {', '.join(sorted(_NAMES))}, and module:function "
                "for one of your own"
            )
        from imagine_cli.rewards.function import find_function

        reward = find_function(spec)
    else:
        reward = make(argument, context)
    if not isinstance(reward, Reward):
        raise InputError(
            f"reward {spec!r}: the package that offers it returned a {type(reward).__name__}, "
            "not an imagine_cli.rewards.Reward"
        )
    reward.name = spec
    return reward


def _find(name: str) -> Make | None:
    if name in _NAMES:
        module, _, attribute = _NAMES[name].partition(":")
        own: Make = getattr(import_module(module), attribute)
        return own
    for point in entry_points(group=_GROUP, name=name):
        try:
            other: Make = point.load()
        except Exception as error:  # another package's import may raise anything at all
            raise InputError(
                f"reward {name!r} of {point.value} can't be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
        return other
    return None
