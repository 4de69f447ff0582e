"""MuJoCo's warnings as Python's; by itself it prints them and leaves a MUJOCO_LOG.TXT."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from imagine_cli.errors import Remark


def heed_mujoco(env_id: str) -> None:
    """Before the env is made, whose module is imported, where its id names one."""
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    entry = str(getattr(gymnasium.registry.get(name), "entry_point", "gymnasium.envs."))
    if entry.startswith("gymnasium.envs.") and "mujoco" not in entry:
        return
    try:
        mujoco: Any = import_module("mujoco")
    except ImportError:  # which making the env says better, if it needs it
        return
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_heard)


def _heard(message: str) -> None:
    if "deprecated" not in message:  # which is said to whoever wrote the env
        warnings.warn(f"MuJoCo: {message.partition(' Time =')[0]}", Remark, stacklevel=1)
