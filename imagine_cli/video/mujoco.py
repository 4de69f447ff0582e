"""Setting the state of Gymnasium's MuJoCo envs from an observation."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["set_by_structure", "set_inverted_double_pendulum", "set_reacher"]

_FREE_JOINT = 0  # mjtJoint.mjJNT_FREE


def set_by_structure(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
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


def set_inverted_double_pendulum(
    env: Any, observation: np.ndarray, action: np.ndarray | None
) -> None:
    """From the cart's place, sin and cos of both angles, and the three speeds."""
    angles = np.arctan2(observation[1:3], observation[3:5])
    env.set_state(np.concatenate([observation[:1], angles]), np.array(observation[5:8]))


def set_reacher(env: Any, observation: np.ndarray, action: np.ndarray | None) -> None:
    """From cos and sin of both angles, the target's place, which rests, and both speeds."""
    angles = np.arctan2(observation[2:4], observation[:2])
    speeds = np.concatenate([observation[6:8], np.zeros(2)])
    env.set_state(np.concatenate([angles, observation[4:6]]), speeds)
