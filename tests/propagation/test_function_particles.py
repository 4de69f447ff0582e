"""Particles that each live in a function of their own, drawn from a GP, and those that don't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.envs import GymEnv
from torchrl.envs.utils import RandomPolicy, check_env_specs

from imagine_cli import ImaginedEnv, open_rollout, run_rollout
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TorchNoise, TrajectoryNoise
from imagine_cli.propagation.particles import Particles
from imagine_cli.world_models import GaussianProcessWorldModel
from tests.helpers.sparse_gps import random_sparse
from tests.helpers.worlds import small_gp

STEPS, COUNT, SD, NOISE = 10, 4000, 0.1, 0.05


def drifting() -> GaussianProcessWorldModel:
    """x' = x + f + noise where f is next to constant, and unknown with standard deviation SD.

    The one datum is so far away, and the length-scale so long, that f is the prior's and bends by
    less than 1e-4 of itself within reach.
    """
    return GaussianProcessWorldModel.from_hyperparameters(
        [[1e6, 0.0]], [[0.0]], [[1e5, 1e5]], [SD**2], [NOISE**2]
    )


def last_particles(**how: Any) -> np.ndarray:
    model = drifting()
    way = make_propagation("particles", model, particles=COUNT, **how)
    noise = TrajectoryNoise(0, 0, 1, torch.float64)
    belief = point(torch.zeros(1, 1, dtype=torch.float64))
    state = way.begin(model, belief, noise)
    for _ in range(STEPS):
        action = ActionBelief(torch.zeros(1, 1, dtype=torch.float64))
        prediction, state = way.step(model, belief, action, state, noise)
        belief = Belief(prediction.mean, prediction.var)
    return state["particles"][0, :, 0].numpy()


@pytest.mark.parametrize(
    ("members", "drift"), [("fixed", STEPS**2 * SD**2), ("random", STEPS * SD**2)]
)
def test_a_drift_for_life_adds_up_and_one_drawn_at_each_step_does_not(
    members: str, drift: float
) -> None:
    last = last_particles(members=members)
    var = drift + STEPS * NOISE**2
    assert abs(last.mean()) < 4 * (var / COUNT) ** 0.5
    assert abs(last.var() / var - 1) < 4 * (2.2 / COUNT) ** 0.5  # a kurtosis of up to 3.2
    if members == "fixed":
        assert last_particles().var() == last.var()  # it is the default


@pytest.mark.parametrize("kind", ["gp", "sparse"])
@pytest.mark.parametrize("batch", [[3], [2, 2]])
def test_functions_are_part_of_the_env_as_a_number_each(kind: str, batch: list[int]) -> None:
    if kind == "gp":
        model: Any = small_gp(3, 1)
    else:
        model, _ = random_sparse(0, 3, 1, points=6, n=30, units=False)
    model.process_noise = False
    way = Particles(particles=5, members="fixed")
    env = ImaginedEnv(model, GymEnv("Pendulum-v1"), batch_size=batch, propagation=way)
    check_env_specs(env)
    start = {"mean": torch.full((*batch, 3), 0.1), "var": 0.1 * torch.eye(3).expand(*batch, 3, 3)}
    td = env.reset(TensorDict({"observation": start}, batch))
    rollout = env.rollout(4, RandomPolicy(env.action_spec), tensordict=td, auto_reset=False)
    member = rollout["propagation", "member"]
    assert member.shape == (*batch, 4, 5)
    assert torch.equal(member, rollout["next", "propagation", "member"])
    assert (member == member[..., :1, :]).all()
    assert len(member[..., 0, :].unique()) == 5 * int(np.prod(batch))
    # without process noise a particle's next state is its function there, asked in any order
    before, after = rollout["propagation", "particles"], rollout["next", "propagation", "particles"]
    u = rollout["action"].double().unsqueeze(-2).expand(*before.shape[:-1], 1)
    order = torch.randperm(member.numel(), generator=torch.manual_seed(0))
    x, u, who = (part.flatten(0, -2)[order] for part in (before, u, member.unsqueeze(-1)))
    at = model.conditional(x, u, who[:, 0])
    assert torch.equal(at.mean, after.flatten(0, -2)[order])
    buffer = ReplayBuffer(storage=LazyTensorStorage(100), batch_size=16)
    buffer.extend(rollout.reshape(-1))
    assert buffer.sample()["propagation", "member"].shape == (16, 5)


@pytest.mark.parametrize("kind", ["gp", "sparse"])
@pytest.mark.parametrize("members", ["fixed", "random"])
def test_a_trajectory_is_the_same_to_the_bit_whatever_is_computed_beside_it(
    kind: str, members: str, tmp_path: Path
) -> None:
    model = small_gp(3, 1, n=21) if kind == "gp" else random_sparse(
        0, 3, 1, points=13, n=30, units=False
    )[0]  # fmt: skip

    def roll(count: int) -> np.ndarray:
        path = tmp_path / f"{count}.h5"
        run_rollout(
            "Pendulum-v1", model, steps=5, trajectories=count, output=path, particles=20,
            propagation="particles", members=members, save_particles=True, overwrite=True,
        )  # fmt: skip
        with open_rollout(path) as rollout:
            assert rollout.propagation == f"particles(particles=20, members={members})"
            return rollout.particles()

    many, few, one = roll(5), roll(3), roll(1)
    assert np.array_equal(many[:3], few)
    assert np.array_equal(many[:1], one)
    assert not np.array_equal(many[0], many[1])


def test_torchs_noise_names_functions_too() -> None:
    model = small_gp(2, 1)
    way = make_propagation("particles", model, particles=50)
    belief = point(torch.zeros(4, 2, dtype=torch.float64))
    torch.manual_seed(0)
    noise = TorchNoise((4,), torch.float64)
    member = way.begin(model, belief, noise)["member"]
    assert len(member.unique()) == 200
    assert member.min() >= 0
    assert way.numbers(model) == 50 * (2 + 1 + model.member_size)
    other = make_propagation("particles", model, particles=50, members="random")
    assert other.numbers(model) == 50 * 2
