"""The reward ``env``: an env's own reward function and its rule of when an episode ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, ClassVar

from imagine_cli.errors import InputError
from imagine_cli.rewards.base import Reward, RewardContext

_CLASSIC, _MUJOCO = "imagine_cli.rewards.classic_control", "imagine_cli.rewards.mujoco"
_LOCOMOTION = "imagine_cli.rewards.locomotion"

ENV_REWARDS = {
    "Acrobot-v1": f"{_CLASSIC}:Acrobot",
    "Ant-v5": f"{_LOCOMOTION}:Ant",
    "CartPole-v0": f"{_CLASSIC}:CartPole",
    "CartPole-v1": f"{_CLASSIC}:CartPole",
    "HalfCheetah-v5": f"{_LOCOMOTION}:HalfCheetah",
    "Hopper-v5": f"{_LOCOMOTION}:Hopper",
    "Humanoid-v5": f"{_LOCOMOTION}:Humanoid",
    "HumanoidStandup-v5": f"{_MUJOCO}:HumanoidStandup",
    "InvertedDoublePendulum-v5": f"{_MUJOCO}:InvertedDoublePendulum",
    "InvertedPendulum-v5": f"{_MUJOCO}:InvertedPendulum",
    "MountainCar-v0": f"{_CLASSIC}:MountainCar",
    "MountainCarContinuous-v0": f"{_CLASSIC}:MountainCarContinuous",
    "Pendulum-v1": f"{_CLASSIC}:Pendulum",
    "Pusher-v5": f"{_MUJOCO}:Pusher",
    "Reacher-v5": f"{_MUJOCO}:Reacher",
    "Swimmer-v5": f"{_LOCOMOTION}:Swimmer",
    "Walker2d-v5": f"{_LOCOMOTION}:Walker2d",
}
"""Of each env id the class of its reward."""

# Arguments that no reward here depends on, of gymnasium.make and of every MuJoCo env.
_OF_ANY_ENV = {
    "camera_id",
    "camera_name",
    "default_camera_config",
    "disable_env_checker",
    "height",
    "max_episode_steps",
    "max_geom",
    "render_mode",
    "reset_noise_scale",
    "visual_options",
    "width",
}


@dataclass(eq=False)
class EnvReward(Reward):
    """An env's own reward. Its fields are the env's arguments that change it, and their defaults.

    Attributes:
        harmless: arguments of the env that don't change it as a function of x, u and x'.
        lacks: what it needs that the observations don't have; empty where it is exact.
        remedy: how to get an exact one, where there is a way.
        error: of the approximation where it isn't: the root mean square over 5,000 real steps of
            random actions.
    """

    harmless: ClassVar[frozenset[str]] = frozenset()
    remedy: ClassVar[str] = ""
    error: ClassVar[float] = 0.0

    @property
    def lacks(self) -> str:
        return ""


def env_reward(
    env_id: str, env_kwargs: Mapping[str, Any] | None = None, *, approximate: bool = False
) -> EnvReward:
    """The reward function of a Gymnasium env, ``(x, u, x') -> (*S,)``, and its ``ended``.

    Args:
        env_id: such as ``Pendulum-v1``.
        env_kwargs: the arguments that the env is made with.
        approximate: take an approximation where the observations don't determine the reward.

    Raises:
        InputError: its reward isn't written out here, for this env or for these arguments, or its
            observations don't determine it and no approximation was asked for.
    """
    env_id = env_id.rpartition(":")[-1]
    if env_id not in ENV_REWARDS:
        raise InputError(
            f"the reward of {env_id} is not among those written out here ({', '.join(ENV_REWARDS)})"
            "; give saturating:..., quadratic:..., model, or module:function"
        )
    module, _, name = ENV_REWARDS[env_id].partition(":")
    kind: type[EnvReward] = getattr(import_module(module), name)
    known = {field.name for field in fields(kind)}
    arguments = dict(env_kwargs or {})
    for key in sorted(arguments.keys() - known - kind.harmless - _OF_ANY_ENV):
        raise InputError(
            f"the reward of {env_id} is not written out for {key}={arguments[key]!r}; leave it "
            "out, or give the reward as module:function"
        )
    reward = kind(**{key: value for key, value in arguments.items() if key in known})
    if reward.lacks and not approximate:
        raise InputError(
            f"the reward of {env_id} needs {reward.lacks}, which its observations don't have; "
            f"{reward.remedy}give env:approximate for an approximation that is off by "
            f"{reward.error:g} (root mean square, random actions)"
        )
    reward.name = "env:approximate" if reward.lacks else "env"
    return reward


def make(argument: str, context: RewardContext) -> Reward:
    """``env``, or ``env:approximate``."""
    if argument not in ("", "approximate"):
        raise InputError(f"reward 'env:{argument}': it is env, or env:approximate")
    env = context.env
    return env_reward(env.id, env.kwargs, approximate=argument == "approximate")
