"""Which envs let their state be set from an observation: one line each, the rest in its own file.

A setter takes the unwrapped env, an observation ``(D,)`` float64 and the action ``(F,)`` that led
to it (None at the start), and leaves the env as if it had been observed so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.registry import resolve

__all__ = ["Setter", "setter_for"]

Setter = Callable[[Any, np.ndarray, "np.ndarray | None"], None]

# The classes of Gymnasium's envs, by whose names those that inherit from them are known too.
_SETTERS = {
    "AcrobotEnv": "imagine_cli.video.classic_control:set_acrobot",
    "CartPoleEnv": "imagine_cli.video.classic_control:set_cart_pole",
    "MountainCarEnv": "imagine_cli.video.classic_control:set_mountain_car",
    "Continuous_MountainCarEnv": "imagine_cli.video.classic_control:set_mountain_car",
    "PendulumEnv": "imagine_cli.video.classic_control:set_pendulum",
    "InvertedDoublePendulumEnv": "imagine_cli.video.mujoco:set_inverted_double_pendulum",
    "ReacherEnv": "imagine_cli.video.mujoco:set_reacher",
}
# Gymnasium's other MuJoCo envs say what their observations are made of.
_BY_STRUCTURE = "imagine_cli.video.mujoco:set_by_structure"


def setter_for(env: Any) -> Setter:
    """The setter of an env; InputError where nobody knows how to set its state."""
    bare = env.unwrapped
    for kind in type(bare).__mro__:
        if kind.__name__ in _SETTERS and kind.__module__.startswith("gymnasium.envs."):
            found: Setter = resolve(_SETTERS[kind.__name__])
            return found
    if hasattr(bare, "observation_structure") and hasattr(bare, "set_state"):
        found = resolve(_BY_STRUCTURE)
        return found
    known = ", ".join(sorted(name.removesuffix("Env") for name in _SETTERS))
    name = env.spec.id if env.spec is not None else type(bare).__name__
    raise InputError(
        f"a video of {name} can't be made: how to set its state from an observation is not known; "
        f"it is known for {known} and the MuJoCo envs (v5) that say their observation_structure"
    )
