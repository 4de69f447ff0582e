"""Setting the state of Gymnasium's envs from an observation.

A setter takes the unwrapped env, an observation ``(D,)`` float64 and the action ``(F,)`` that led
to it (None at the start), and leaves the env as if it had been observed so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from imagine_cli.errors import InputError

Setter = Callable[[Any, np.ndarray, "np.ndarray | None"], None]

_FREE_JOINT = 0  # mjtJoint.mjJNT_FREE


def setter_for(env: Any) -> Setter:
    """The setter of an env; InputError where nobody knows how to set its state."""
    bare = env.unwrapped
    for kind in type(bare).__mro__:
        if kind.__name__ in _SETTERS and kind.__module__.startswith("gymnasium.envs."):
            return _SETTERS[kind.__name__]
    if hasattr(bare, "observation_structure") and hasattr(bare, "set_state"):
        return _set_by_structure
    known = ", ".join(sorted(name.removesuffix("Env") for name in _SETTERS))
    name = env.spec.id if env.spec is not None else type(bare).__name__
    raise InputError(
        f"a video of {name} can't be made: how to set its state from an observation is not known; "
        f"it is known for {known} and the MuJoCo envs (v5) that say their observation_structure"
    )


def _set_pendulum(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos, sin (of a mean, perhaps inside the circle) and speed; the torque is an arrow."""
    cos, sin, speed = observation
    env.state = np.array([math.atan2(sin, cos), speed])
    torque = None if action is None else float(action[0])
    env.last_u = None if torque is None else np.clip(torque, -env.max_torque, env.max_torque)


def _set_cart_pole(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    env.state = np.array(observation, dtype=np.float64)
    env.steps_beyond_terminated = None


def _set_mountain_car(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    env.state = np.array(observation, dtype=np.float64)


def _set_acrobot(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos and sin of both angles and their speeds."""
    cos1, sin1, cos2, sin2, *speeds = observation
    env.state = np.array([math.atan2(sin1, cos1), math.atan2(sin2, cos2), *speeds])


def _set_by_structure(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From ``qpos`` without its first numbers, ``qvel``, and more that follows from them.

    The env's ``observation_structure`` says how many numbers are skipped: where the root is on
    its line or in its plane, which is 0 then.
    """
    structure = env.observation_structure
    skipped, known, speeds = (int(structure.get(k, 0)) for k in ("skipped_qpos", "qpos", "qvel"))
    qpos = np.concatenate([np.zeros(skipped), observation[:known]])
    if int(env.model.jnt_type[0]) == _FREE_JOINT:
        length = np.linalg.norm(qpos[3:7])  # the mean of quaternions is none
        qpos[3:7] = qpos[3:7] / length if length > 0 else (1.0, 0.0, 0.0, 0.0)
    env.set_state(qpos, np.array(observation[known : known + speeds]))


def _set_inverted_double_pendulum(
    env: Any, observation: np.ndarray, action: np.ndarray | None
) -> None:
    """From the cart's place, sin and cos of both angles, and the three speeds."""
    angles = np.arctan2(observation[1:3], observation[3:5])
    env.set_state(np.concatenate([observation[:1], angles]), np.array(observation[5:8]))


def _set_reacher(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos and sin of both angles, the target's place, which rests, and both speeds."""
    angles = np.arctan2(observation[2:4], observation[:2])
    speeds = np.concatenate([observation[6:8], np.zeros(2)])
    env.set_state(np.concatenate([angles, observation[4:6]]), speeds)


# The classes of Gymnasium's envs, by whose names those that inherit from them are known too. Its
# other MuJoCo envs say what their observations are made of.
_SETTERS: dict[str, Setter] = {
    "AcrobotEnv": _set_acrobot,
    "CartPoleEnv": _set_cart_pole,
    "MountainCarEnv": _set_mountain_car,
    "Continuous_MountainCarEnv": _set_mountain_car,
    "PendulumEnv": _set_pendulum,
    "InvertedDoublePendulumEnv": _set_inverted_double_pendulum,
    "ReacherEnv": _set_reacher,
}
