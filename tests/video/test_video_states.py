"""Setting an env's state from an observation: the env then observes just that."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from imagine_cli import InputError
from imagine_cli.video.states import setter_for

CLASSIC = [
    "Pendulum-v1",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
]
MUJOCO = [
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
    "Reacher-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Swimmer-v5",
    "Ant-v5",
    "Humanoid-v5",
]


def observed(env: Any) -> np.ndarray:
    bare = env.unwrapped
    for name in ("_get_obs", "_get_ob"):
        if hasattr(bare, name):
            return np.asarray(getattr(bare, name)(), dtype=np.float64)
    return np.asarray(bare.state, dtype=np.float64)


def what_follows(env: Any, size: int) -> int:
    """How many of the first numbers say the state; contact forces and the like follow from it."""
    structure = getattr(env.unwrapped, "observation_structure", None)
    return structure["qpos"] + structure["qvel"] if structure else size


@pytest.mark.parametrize("env_id", CLASSIC + MUJOCO)
def test_an_env_that_was_set_observes_what_it_was_set_to(env_id: str) -> None:
    real, other = gymnasium.make(env_id), gymnasium.make(env_id)
    setter = setter_for(other)
    real.reset(seed=0)
    other.reset(seed=1)
    real.action_space.seed(0)
    for _ in range(4):
        # A step first: a reset of Ant leaves its quaternion a little longer than 1.
        observation = real.step(real.action_space.sample())[0]
        observation = np.asarray(observation, dtype=np.float64)
        setter(other.unwrapped, observation, None)
        known = what_follows(real, len(observation))
        # float32 observations of float64 states, an angle by its cosine and sine, constraint
        # forces and lengths worked out anew; else rounding.
        tolerance = 2e-6 if real.observation_space.dtype == np.float32 else 1e-9
        found = observed(other)
        if env_id in ("InvertedDoublePendulum-v5", "Reacher-v5"):
            known = 8  # then a force of the solver, and where the fingertip is
        np.testing.assert_allclose(found[:known], observation[:known], rtol=0, atol=tolerance)
    real.close()
    other.close()


def test_a_step_from_there_is_the_real_step() -> None:
    for env_id in ("Pendulum-v1", "CartPole-v1", "InvertedPendulum-v5"):
        real, other = gymnasium.make(env_id), gymnasium.make(env_id)
        start = np.asarray(real.reset(seed=3)[0], dtype=np.float64)
        other.reset(seed=4)
        setter_for(other)(other.unwrapped, start, None)
        real.action_space.seed(1)
        action = real.action_space.sample()
        np.testing.assert_allclose(other.step(action)[0], real.step(action)[0], atol=1e-6)
        real.close()
        other.close()


def test_what_is_left_out_is_zero_and_quaternions_are_made_unit() -> None:
    env = gymnasium.make("Ant-v5")
    observation = np.asarray(env.reset(seed=0)[0], dtype=np.float64)
    observation[1:5] *= 0.25
    setter_for(env)(env.unwrapped, observation, None)
    qpos = env.unwrapped.data.qpos  # type: ignore[attr-defined]
    assert qpos[:2].tolist() == [0, 0]
    assert np.linalg.norm(qpos[3:7]) == pytest.approx(1, abs=1e-12)
    direction = observation[1:5] / np.linalg.norm(observation[1:5])
    np.testing.assert_allclose(qpos[3:7], direction, rtol=1e-12)
    env.close()


def test_a_mean_inside_the_circle_keeps_its_angle() -> None:
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=0)
    angle = 2.0
    mean = np.array([0.1 * np.cos(angle), 0.1 * np.sin(angle), 1.5])
    setter_for(env)(env.unwrapped, mean, np.array([9.0]))
    assert env.unwrapped.state == pytest.approx([angle, 1.5])  # type: ignore[attr-defined]
    assert env.unwrapped.last_u == 2.0  # type: ignore[attr-defined]


def test_an_env_that_nobody_knows_gets_a_sentence() -> None:
    class Unknown(gymnasium.Env[Any, Any]):
        pass

    with pytest.raises(InputError, match="a video of Unknown can't be made: how to set its state"):
        setter_for(Unknown())
    pusher = gymnasium.make("Pusher-v5")
    with pytest.raises(InputError, match="Pusher-v5 can't be made"):
        setter_for(pusher)
