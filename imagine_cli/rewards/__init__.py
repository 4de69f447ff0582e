"""What is to be maximised, on points ``(x, u, x')`` and on beliefs: one reward a file.

:func:`make_reward` finds one by its spec, ``name`` or ``name:argument``; :func:`env_reward` is an
env's own; :class:`~imagine_cli.rewards.base.Reward` says what each of them answers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.rewards.base import Reads as Reads
    from imagine_cli.rewards.base import Reward as Reward
    from imagine_cli.rewards.base import RewardContext as RewardContext
    from imagine_cli.rewards.base import RewardMoments as RewardMoments
    from imagine_cli.rewards.env import env_reward as env_reward
    from imagine_cli.rewards.quadratic import QuadraticReward as QuadraticReward
    from imagine_cli.rewards.registry import make_reward as make_reward
    from imagine_cli.rewards.saturating import SaturatingReward as SaturatingReward

_HOME = {
    "QuadraticReward": "imagine_cli.rewards.quadratic",
    "Reads": "imagine_cli.rewards.base",
    "Reward": "imagine_cli.rewards.base",
    "RewardContext": "imagine_cli.rewards.base",
    "RewardMoments": "imagine_cli.rewards.base",
    "SaturatingReward": "imagine_cli.rewards.saturating",
    "env_reward": "imagine_cli.rewards.env",
    "make_reward": "imagine_cli.rewards.registry",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
