"""What each observation dimension is called, for envs whose documentation says so."""

from __future__ import annotations

__all__ = ["observation_names"]

_NAMES: dict[str, list[str]] = {
    "Pendulum": ["cos(theta)", "sin(theta)", "theta_dot"],
    "CartPole": ["x", "x_dot", "theta", "theta_dot"],
    "MountainCar": ["x", "x_dot"],
    "MountainCarContinuous": ["x", "x_dot"],
    "Acrobot": [
        "cos(theta1)",
        "sin(theta1)",
        "cos(theta2)",
        "sin(theta2)",
        "theta1_dot",
        "theta2_dot",
    ],
    "InvertedPendulum": ["x", "theta", "x_dot", "theta_dot"],
    "InvertedDoublePendulum": [
        "x",
        "sin(theta1)",
        "sin(theta2)",
        "cos(theta1)",
        "cos(theta2)",
        "x_dot",
        "theta1_dot",
        "theta2_dot",
        "constraint_x",
    ],
    "Hopper": [
        "z_torso",
        "torso",
        "thigh",
        "leg",
        "foot",
        "x_torso_dot",
        "z_torso_dot",
        "torso_dot",
        "thigh_dot",
        "leg_dot",
        "foot_dot",
    ],
    "HalfCheetah": [
        "z_front",
        "front",
        "back_thigh",
        "back_shin",
        "back_foot",
        "front_thigh",
        "front_shin",
        "front_foot",
        "x_front_dot",
        "z_front_dot",
        "front_dot",
        "back_thigh_dot",
        "back_shin_dot",
        "back_foot_dot",
        "front_thigh_dot",
        "front_shin_dot",
        "front_foot_dot",
    ],
}


def observation_names(env_id: str, size: int) -> list[str]:
    """``size`` names, the env's own where they are known, else ``x0``, ``x1``, ..."""
    name = env_id.rsplit(":", 1)[-1].rsplit("/", 1)[-1].rsplit("-v", 1)[0]
    known = _NAMES.get(name, [])
    return list(known) if len(known) == size else [f"x{i}" for i in range(size)]
