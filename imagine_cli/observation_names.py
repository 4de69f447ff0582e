"""What each observation dimension is called and measured in, where the env's documentation says."""

from __future__ import annotations

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


# One word a dimension, "1" for a number without a unit. MountainCar's documentation has none.
_UNITS: dict[str, str] = {
    "Pendulum": "1 1 rad/s",
    "CartPole": "m m/s rad rad/s",  # its equations are those of SI units, with g = 9.8
    "Acrobot": "1 1 1 1 rad/s rad/s",
    "InvertedPendulum": "m rad m/s rad/s",
    "InvertedDoublePendulum": "m 1 1 1 1 m/s rad/s rad/s N",
    "Hopper": "m rad rad rad rad m/s m/s rad/s rad/s rad/s rad/s",
    "HalfCheetah": "m" + 7 * " rad" + " m/s m/s" + 7 * " rad/s",
}


def observation_names(env_id: str, size: int) -> list[str]:
    """``size`` names, the env's own where they are known, else ``x0``, ``x1``, ..."""
    known = _NAMES.get(_family(env_id), [])
    return list(known) if len(known) == size else [f"x{i}" for i in range(size)]


def observation_units(env_id: str, size: int) -> list[str]:
    """``size`` units such as ``rad/s``, empty where there is none or it is not known."""
    known = _UNITS.get(_family(env_id), "").replace("1", "").split(" ")
    return known if len(known) == size else [""] * size


def labelled(names: list[str], env_id: str) -> list[str]:
    """The names with their units, as on an axis: ``theta_dot [rad/s]``; as they are where the
    names are not the env's own."""
    if names != observation_names(env_id, len(names)):
        return list(names)
    units = observation_units(env_id, len(names))
    return [f"{name} [{unit}]" if unit else name for name, unit in zip(names, units, strict=True)]


def _family(env_id: str) -> str:
    return env_id.rsplit(":", 1)[-1].rsplit("/", 1)[-1].rsplit("-v", 1)[0]
