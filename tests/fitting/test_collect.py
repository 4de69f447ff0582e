"""Transitions of real envs: nothing invented, nothing across a reset."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import describe, make_env, reset_seed
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.fitting import collect
from imagine_cli.policies import Policy, make_policy
from imagine_cli.policies.base import PolicyState


def _collect(env_id: str, steps: int, seed: int = 0) -> Any:
    env = make_env(env_id)
    policy = make_policy("random", describe(env), seed=seed)
    return collect(env, policy, steps=steps, seed=seed)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_the_env_stepped_again_with_the_recorded_actions_gives_the_same(env_id: str) -> None:
    data = _collect(env_id, 230, seed=3)
    env = make_env(env_id)
    about = describe(env)
    for row in range(len(data)):
        if row == 0 or data.episode[row] != data.episode[row - 1]:
            observation, _ = env.reset(seed=reset_seed(3, int(data.episode[row])))
            ended = False
        assert not ended
        following, reward, terminated, truncated, _ = env.step(
            about.decode_action(data.actions[row])
        )
        ended = terminated or truncated
        np.testing.assert_array_equal(data.observations[row], observation)
        np.testing.assert_array_equal(data.next_observations[row], following)
        assert data.rewards[row] == float(reward)
        observation = following
    assert data.episode[-1] >= 1, "the test wants more than one episode"


def test_shapes_and_dtypes() -> None:
    data = _collect("CartPole-v1", 40)
    assert data.observations.shape == data.next_observations.shape == (40, 4)
    assert data.actions.shape == (40, 2)
    assert data.rewards.shape == data.episode.shape == (40,)
    assert {a.dtype for a in (data.observations, data.actions, data.rewards)} == {np.dtype(float)}
    np.testing.assert_array_equal(np.sort(data.actions, axis=1), np.tile([0.0, 1.0], (40, 1)))
    np.testing.assert_array_equal(data.inputs, np.hstack([data.observations, data.actions]))
    np.testing.assert_array_equal(data.differences, data.next_observations - data.observations)


def test_where_an_episode_ends_its_last_observation_is_kept() -> None:
    data = _collect("CartPole-v1", 120)
    last = np.flatnonzero(np.diff(data.episode))
    assert len(last) >= 2
    x, theta = np.abs(data.next_observations[last][:, [0, 2]]).T
    # CartPole ends by itself where |x| > 2.4 or |theta| > 12 degrees, and random actions end so.
    assert ((x > 2.4) | (theta > np.deg2rad(12))).all()
    within = np.setdiff1d(np.arange(119), last)
    np.testing.assert_array_equal(data.next_observations[within], data.observations[within + 1])
    assert (data.next_observations[last] != data.observations[last + 1]).any(axis=1).all()


def test_the_seed_decides() -> None:
    one, again, other = (_collect("Pendulum-v1", 30, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.next_observations, again.next_observations)
    np.testing.assert_array_equal(one.actions, again.actions)
    assert (one.observations[0] != other.observations[0]).any()
    assert (one.actions != other.actions).any()


def test_the_policy_starts_with_each_episode_and_sees_points() -> None:
    seen: list[tuple[Any, ...]] = []

    class Spy(Policy):
        name = "spy"

        def begin(self, observation: Belief, trajectories: torch.Tensor) -> PolicyState:
            seen.append(("begin", *trajectories.tolist()))
            return {}

        def act(
            self, step: int, observation: Belief, state: PolicyState
        ) -> tuple[ActionBelief, PolicyState]:
            assert observation.mean.shape == (1, 4)
            assert observation.var.shape == (1, 4, 4)
            assert not observation.var.any()
            seen.append(("act", step))
            return ActionBelief(torch.tensor([[0.0, 1.0]], dtype=torch.float64)), state

    data = collect("CartPole-v1", Spy(), steps=25)
    expected: list[tuple[Any, ...]] = []
    for episode in range(data.episode[-1] + 1):
        expected.append(("begin", episode))
        expected += [("act", step) for step in range((data.episode == episode).sum())]
    assert data.episode[-1] >= 1
    assert seen == expected


def test_rows_are_taken_together() -> None:
    data = _collect("Pendulum-v1", 20)
    some = data[np.array([3, 7])]
    assert len(some) == 2
    np.testing.assert_array_equal(some.rewards, data.rewards[[3, 7]])
    np.testing.assert_array_equal(some.next_observations, data.next_observations[[3, 7]])


class _Breaks(gymnasium.Env[np.ndarray, np.ndarray]):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        self.t += 1
        value = np.nan if self.t == 4 else 0.0
        return np.array([0.0, value], np.float32), 0.0, False, False, {}


def test_an_observation_that_is_not_finite_is_an_error_that_says_where() -> None:
    env = _Breaks()
    policy = make_policy("zero", describe(env), seed=0)
    assert len(collect(env, policy, steps=3)) == 3
    with pytest.raises(ImagineError, match="not finite at step 4 of episode 0"):
        collect(env, policy, steps=4)


def test_steps_must_be_positive() -> None:
    env = make_env("Pendulum-v1")
    policy = make_policy("zero", describe(env), seed=0)
    with pytest.raises(InputError, match="1 or more, not 0"):
        collect(env, policy, steps=0)
