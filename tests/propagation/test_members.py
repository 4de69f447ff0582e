"""Members of an ensemble that disagree: what becomes of it depends on who follows whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv
from torchrl.envs.utils import RandomPolicy, check_env_specs

from imagine_cli import ImaginedEnv, InputError, open_rollout, run_rollout
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.propagation.particles import Particles
from tests.helpers.ensembles import constant_ensemble, random_ensemble

STEPS, COUNT, SD = 10, 2000, 0.1


def last_particles(**how: Any) -> np.ndarray:
    """Where particles are that start at 0 and move by +1 or -1 a step, by one of two members."""
    model = constant_ensemble([1.0, -1.0], SD)
    way = make_propagation("particles", model, particles=COUNT, **how)
    noise = TrajectoryNoise(0, 0, 1, torch.float64)
    belief = point(torch.zeros(1, 1, dtype=torch.float64))
    state = way.begin(model, belief, noise)
    for _ in range(STEPS):
        action = ActionBelief(torch.zeros(1, 1, dtype=torch.float64))
        prediction, state = way.step(model, belief, action, state, noise)
        belief = Belief(prediction.mean, prediction.var)
    return state["particles"][0, :, 0].numpy()


def test_with_a_member_for_life_the_particles_part_in_two() -> None:
    last = last_particles(members="fixed")
    # each at ±10 with the standard deviation of ten steps, half of them at each
    assert (last > 0).sum() == COUNT / 2
    deviation = SD * STEPS**0.5
    for side in (1, -1):
        half = side * last[side * last > 0]
        assert abs(half.mean() - STEPS) < 4 * deviation / (COUNT / 2) ** 0.5
        assert abs(half.std() / deviation - 1) < 4 / COUNT**0.5
    assert np.abs(last).min() > STEPS - 5 * deviation  # nobody in between


@pytest.mark.parametrize("how", [{"members": "random"}, {"resample": True}])
def test_with_another_member_each_step_they_stay_together(how: dict[str, Any]) -> None:
    last = last_particles(**how)
    # a random walk of ten steps of ±1: variance 10, not 100, and most of it near the middle
    var = STEPS * (1 + SD**2)
    # drawn anew, the errors of all steps' means add up: 1 + 2 + ... + 10 steps' variances
    error = 5.5 if how.get("resample") else 1.0
    assert abs(last.mean()) < 4 * (error * var / COUNT) ** 0.5
    assert abs(last.var() / var - 1) < 4 * (error * 2 / COUNT) ** 0.5
    assert (np.abs(last) < 5).mean() > 0.8


def test_the_default_is_a_member_for_life_where_there_are_members() -> None:
    model = random_ensemble(3, 1)
    assert make_propagation(None, model).description == "particles(particles=100, members=fixed)"
    random = make_propagation("particles", model, resample=True).description
    assert random == "particles(particles=100, members=random, resample)"
    with pytest.raises(InputError, match="'moments' does not fit"):
        make_propagation("moments", model)


@pytest.mark.parametrize("name", ["linearized", "unscented"])
def test_one_step_of_a_narrow_belief_is_that_of_the_mixture(name: str) -> None:
    model = random_ensemble(3, 1, reward=True)
    mean = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    action = ActionBelief(torch.tensor([[0.5]], dtype=torch.float64))
    noise = TrajectoryNoise(0, 0, 1, torch.float64)
    at = model.conditional(mean, action.mean)
    found = []
    for variance in (0.0, 1e-10):
        belief = Belief(mean, variance * eye.unsqueeze(0))
        found.append(make_propagation(name, model).step(model, belief, action, {}, noise)[0])
    torch.testing.assert_close(found[0].mean, at.mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found[0].var, at.covariance, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found[0].reward_var, at.reward_var, rtol=1e-10, atol=1e-14)
    if name == "unscented":
        return  # which sees the curvature of the variance too
    # J by finite differences: what 1e-10 of variance adds is J Jᵀ times that
    columns = []
    for k in range(3):
        ahead, behind = (
            model.conditional(mean + sign * 1e-6 * eye[k], action.mean).mean for sign in (1, -1)
        )
        columns.append((ahead - behind)[0] / 2e-6)
    jacobian = torch.stack(columns, dim=-1)
    added = (found[1].var - found[0].var)[0] / 1e-10
    torch.testing.assert_close(added, jacobian @ jacobian.mT, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("members", ["random", "fixed"])
def test_members_are_part_of_the_env(members: str) -> None:
    way = Particles(particles=10, members=members)
    model = random_ensemble(3, 1, reward=True)
    env = ImaginedEnv(model, GymEnv("Pendulum-v1"), batch_size=2, propagation=way)
    check_env_specs(env)
    rollout = env.rollout(4, RandomPolicy(env.action_spec))
    assert rollout["next", "reward"].abs().min() > 0
    if members == "random":
        assert set(rollout["propagation"].keys()) == {"particles"}
        return
    member = rollout["next", "propagation", "member"]
    assert member.shape == (2, 4, 10)
    assert (member == member[:, :1]).all()
    assert (torch.nn.functional.one_hot(member, 5).sum(-2) == 2).all()


@pytest.mark.parametrize("way", [
    {}, {"members": "random"}, {"resample": True}, {"propagation": "linearized"},
    {"propagation": "unscented"},
])  # fmt: skip
def test_a_trajectory_is_the_same_to_the_bit_whatever_is_computed_beside_it(
    way: dict[str, Any], tmp_path: Path
) -> None:
    model = random_ensemble(3, 1, reward=True, weights=torch.float32)

    def roll(count: int) -> list[np.ndarray]:
        path = tmp_path / f"{count}.h5"
        run_rollout(
            "Pendulum-v1", model, steps=5, trajectories=count, output=path, seed=1,
            start="mean=1,0,0;var=.1,.1,.1", **way,
        )  # fmt: skip
        with open_rollout(path) as rollout:
            return [
                rollout.mean(), rollout.var(), rollout.reward_mean(), rollout.reward_var(),
            ]  # fmt: skip

    many = roll(6)
    for count in (1, 4):
        for a, b in zip(roll(count), many, strict=True):
            assert np.isfinite(a).all()
            assert np.array_equal(a, b[:count])
