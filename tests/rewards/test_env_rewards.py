"""The envs' own rewards, held against the real envs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.rewards import RewardContext, env_reward, make_reward
from imagine_cli.rewards.env import ENV_REWARDS
from imagine_cli.world_models.interfaces import Prediction
from tests.helpers.real_steps import Act, real_steps

ALL_POSITIONS = {"exclude_current_positions_from_observation": False}

# Env, its arguments, what acts beside random actions, and whether episodes end then.
EXACT: list[tuple[str, dict[str, Any], Act | None, bool]] = [
    ("Pendulum-v1", {}, None, False),
    ("Pendulum-v1", {"g": 3.0}, None, False),
    ("MountainCar-v0", {}, lambda x: 2 * int(x[1] > 0), True),
    ("MountainCar-v0", {"goal_velocity": 0.02}, lambda x: 2 * int(x[1] > 0), True),
    ("MountainCarContinuous-v0", {}, lambda x: np.sign(x[1:]) + 0.1, True),
    ("CartPole-v0", {}, None, True),
    ("CartPole-v1", {}, None, True),
    ("CartPole-v1", {"sutton_barto_reward": True}, None, True),
    ("Acrobot-v1", {}, lambda x: 2 * int(x[4] < 0), True),
    ("InvertedPendulum-v5", {}, None, True),
    ("Reacher-v5", {}, None, False),
    ("Reacher-v5", {"reward_dist_weight": 2.0, "reward_control_weight": 0.3}, None, False),
    ("Pusher-v5", {}, None, False),
    ("HalfCheetah-v5", ALL_POSITIONS, None, False),
    ("HalfCheetah-v5", {**ALL_POSITIONS, "frame_skip": 3, "ctrl_cost_weight": 0.5}, None, False),
    ("Swimmer-v5", ALL_POSITIONS, None, False),
    ("Hopper-v5", ALL_POSITIONS, None, True),
    ("Hopper-v5", {**ALL_POSITIONS, "healthy_state_range": (-3.0, 3.0)}, None, True),
    ("Walker2d-v5", ALL_POSITIONS, None, True),
    ("Walker2d-v5", {**ALL_POSITIONS, "terminate_when_unhealthy": False}, None, False),
    ("HumanoidStandup-v5", {}, None, False),
    ("HumanoidStandup-v5", {**ALL_POSITIONS, "impact_cost_weight": 1e-3}, None, False),
]

APPROXIMATE = {
    "InvertedDoublePendulum-v5": True,
    "HalfCheetah-v5": False,
    "Swimmer-v5": False,
    "Hopper-v5": True,
    "Walker2d-v5": True,
    "Ant-v5": True,
    "Humanoid-v5": True,
}


@pytest.mark.parametrize(("env_id", "kwargs", "act", "ends"), EXACT)
def test_1000_real_steps_are_rewarded_as_the_env_does_it(
    env_id: str, kwargs: dict[str, Any], act: Act | None, ends: bool
) -> None:
    steps = real_steps(env_id, kwargs, act)
    reward = env_reward(env_id, kwargs)
    found = reward(*steps[:3])
    assert found.shape == (1000,)
    assert reward.name == "env"
    torch.testing.assert_close(found, steps.reward, rtol=0.0, atol=1e-6)
    assert torch.equal(reward.ended(*steps[:3]), steps.terminated)
    assert bool(steps.terminated.any()) == ends


@pytest.mark.parametrize(("env_id", "ends"), APPROXIMATE.items())
def test_an_approximation_is_asked_for_and_as_far_off_as_it_says(env_id: str, ends: bool) -> None:
    with pytest.raises(InputError, match=f"{env_id} needs .*observations don't have.*approximate"):
        env_reward(env_id)
    steps = real_steps(env_id, {})
    reward = env_reward(env_id, approximate=True)
    assert reward.name == "env:approximate"
    errors = reward(*steps[:3]) - steps.reward
    assert float(errors.square().mean().sqrt()) == pytest.approx(reward.error, rel=0.4)
    assert torch.equal(reward.ended(*steps[:3]), steps.terminated)
    assert bool(steps.terminated.any()) == ends


def test_every_env_that_is_offered_is_tested() -> None:
    assert {case[0] for case in EXACT} | set(APPROXIMATE) == set(ENV_REWARDS)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "sentence"),
    [
        ("FrozenLake-v1", {}, "reward of FrozenLake-v1 is not among those"),
        ("Ant-v5", {"xml_file": "a.xml"}, "reward of Ant-v5 is not written out for xml_file='a.x"),
        ("Pendulum-v1", {"gravity": 1}, "not written out for gravity=1; leave it out"),
        ("Hopper-v5", {"healthy_state_range": [-50, 50]}, "velocities beyond 10"),
        ("HalfCheetah-v5", {}, "make the env with exclude_current_positions_from_obs.*=false"),
    ],
)
def test_what_is_not_known_is_refused(env_id: str, kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        env_reward(env_id, kwargs)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1", "Reacher-v5", "Swimmer-v5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rewards_of_any_batch_shape_at_certain_beliefs_are_those_at_points(
    env_id: str, dtype: torch.dtype
) -> None:
    kwargs = ALL_POSITIONS if env_id == "Swimmer-v5" else {}
    context = RewardContext(describe(make_env(env_id, kwargs), kwargs), dtype=dtype)
    reward = make_reward("env", context)
    x, u, x_next = (
        part.to(dtype).view(2, 3, -1) for part in real_steps(env_id, kwargs, None, 6)[:3]
    )
    at = reward.at(x, u, x_next)
    assert at.shape == (2, 3)
    assert at.dtype == dtype
    mean, var = reward.moments(point(x), ActionBelief(u), Prediction(*point(x_next)))
    assert torch.equal(mean, at)
    assert torch.equal(var, torch.zeros_like(at))


def test_the_chance_of_balancing_is_monte_carlos_and_has_a_gradient() -> None:
    reward = env_reward("InvertedPendulum-v5")
    generator = torch.Generator().manual_seed(0)
    for angle, deviation in [(0.0, 0.1), (0.15, 0.05), (-0.3, 0.2)]:
        mean = torch.tensor([0.0, angle, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        belief = Prediction(mean, deviation**2 * torch.eye(4, dtype=torch.float64))
        found = reward.moments(belief, ActionBelief(mean[:1]), belief)
        noise = torch.randn(40_000, 4, generator=generator, dtype=torch.float64)
        drawn = reward(mean, mean[:1], mean.detach() + deviation * noise)
        standard_error = drawn.var().sqrt() / 200.0
        assert abs(found.mean.item() - drawn.mean().item()) < 4.0 * float(standard_error)
        assert found.var.item() == pytest.approx(drawn.var().item(), rel=0.05)
        (slope,) = torch.autograd.grad(found.mean, mean)
        assert float(slope[1]) * angle <= 0.0


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Reacher-v5", "Pusher-v5"])
def test_gradients_are_finite_differences(env_id: str) -> None:
    steps = real_steps(env_id, {}, None, 5)
    inputs = [part.clone().requires_grad_() for part in steps[:3]]
    # Away from the torque's limits, where the env's clipping has a kink.
    inputs[1] = (0.5 * steps.u).requires_grad_()
    assert torch.autograd.gradcheck(env_reward(env_id).at, inputs)
