"""Setting the state of Gymnasium's classic-control envs from an observation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["set_acrobot", "set_cart_pole", "set_mountain_car", "set_pendulum"]


def set_pendulum(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos, sin (of a mean, perhaps inside the circle) and speed; the torque is an arrow."""
    cos, sin, speed = observation
    env.state = np.array([math.atan2(sin, cos), speed])
    torque = None if action is None else float(action[0])
    env.last_u = None if torque is None else np.clip(torque, -env.max_torque, env.max_torque)


def set_cart_pole(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    env.state = np.array(observation, dtype=np.float64)
    env.steps_beyond_terminated = None


def set_mountain_car(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    env.state = np.array(observation, dtype=np.float64)


def set_acrobot(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos and sin of both angles and their speeds."""
    cos1, sin1, cos2, sin2, *speeds = observation
    env.state = np.array([math.atan2(sin1, cos1), math.atan2(sin2, cos2), *speeds])
