"""ImaginedEnv with every propagation: what they carry is part of the env's specs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.envs import GymEnv, SerialEnv, StepCounter, TransformedEnv
from torchrl.envs.utils import RandomPolicy, check_env_specs

from imagine_cli import ImaginedEnv, InputError
from imagine_cli.belief import ActionBelief, Belief, fit_to_particles
from imagine_cli.propagation.particles import Particles
from tests.helpers.worlds import linear_module, small_gp

WAYS: dict[str, Any] = {
    "default": None,
    "linearized": "linearized",
    "unscented": "unscented",
    "particles": Particles(particles=6),
    "resampled": Particles(particles=6, resample=True),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("batch", [[3], [2, 2]])
def test_specs_and_rollouts(way: Any, batch: list[int]) -> None:
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=batch, propagation=way)
    check_env_specs(env)
    rollout = env.rollout(4, RandomPolicy(env.action_spec))
    assert rollout["next", "observation", "var"].shape == (*batch, 4, 3, 3)
    if not isinstance(way, Particles):
        assert "propagation" not in rollout.keys()  # noqa: SIM118
        return
    particles = rollout["next", "propagation", "particles"]
    assert particles.shape == (*batch, 4, 6, 3)
    fitted = fit_to_particles(particles)
    torch.testing.assert_close(rollout["next", "observation", "mean"], fitted.mean)
    torch.testing.assert_close(rollout["next", "observation", "var"], fitted.var)


def test_a_rollout_carries_the_particles_from_step_to_step() -> None:
    gp = small_gp(3, 1)
    way = Particles(particles=5)
    env = ImaginedEnv(gp, GymEnv("Pendulum-v1"), batch_size=2, propagation=way)
    start = {"mean": torch.full((2, 3), 0.1), "var": 0.1 * torch.eye(3).expand(2, 3, 3)}
    td = env.reset(TensorDict({"observation": start}, [2]))
    rollout = env.rollout(3, RandomPolicy(env.action_spec), tensordict=td, auto_reset=False)
    for step in range(3):
        before, after = rollout[:, step], rollout["next"][:, step]
        u = before["action"].unsqueeze(-2).expand(2, 5, 1)
        at = gp.conditional(before["propagation", "particles"], u.double())
        spread = (after["propagation", "particles"] - at.mean).abs() / at.var.sqrt()
        assert spread.max() < 5.0
        assert spread.max() > 0.0


def test_torchs_seed_repeats_a_rollout() -> None:
    env = ImaginedEnv(
        small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2, propagation=Particles(particles=4)
    )
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        env.set_seed(0)
        found.append(env.rollout(3)["next", "propagation", "particles"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_collectors_serial_envs_and_buffers_just_work() -> None:
    def make() -> Any:
        way = Particles(particles=4)
        env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=[2], propagation=way)
        return TransformedEnv(env, StepCounter(5))

    env = make()
    collector = Collector(env, RandomPolicy(env.action_spec), frames_per_batch=20, total_frames=40)
    buffer = ReplayBuffer(storage=LazyTensorStorage(100), batch_size=16)
    for data in collector:
        # a new start after five steps: certain, so that all particles are in one place
        particles = data["propagation", "particles"]
        assert not particles[:, [0, 5]].std(dim=-2).any()
        assert particles[:, 1:5].std(dim=-2).all()
        buffer.extend(data.reshape(-1))
    assert buffer.sample()["propagation", "particles"].shape == (16, 4, 3)
    collector.shutdown()
    serial = SerialEnv(2, make)
    assert serial.rollout(3)["next", "propagation", "particles"].shape == (2, 2, 3, 4, 3)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_gradients_flow_to_the_policy(way: Any) -> None:
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2, propagation=way)
    root = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    start = {"mean": torch.full((2, 3), 0.2), "var": 0.1 * root @ root.mT}
    start = TensorDict({"observation": start}, [2])

    def loss(weight: torch.Tensor) -> torch.Tensor:
        def policy(td: Any) -> Any:
            return td.set("action", torch.tanh(td["observation", "mean"] @ weight))

        torch.manual_seed(1)
        rollout = env.rollout(3, policy, tensordict=env.reset(start), auto_reset=False)
        final = rollout["next", "observation"][:, -1]
        return final["mean"].square().sum() + final["var"].sum()

    weight = torch.tensor([[0.3], [-0.2], [0.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, weight, rtol=1e-5, atol=1e-7)
    # and from a start without variance, where roots have no derivative
    start = TensorDict({"observation": torch.full((2, 3), 0.2)}, [2])
    (gradient,) = torch.autograd.grad(loss(weight), weight)
    assert torch.isfinite(gradient).all()


def test_a_step_outside_tensordict_carries_too() -> None:
    way = Particles(particles=4)
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2, propagation=way)
    belief = Belief(torch.zeros(2, 3).double(), torch.eye(3).double().expand(2, 3, 3))
    action = ActionBelief(torch.zeros(2, 1).double())
    noise = env.noise(torch.Size([2]))
    state = env.dynamics.begin(belief, noise)
    prediction, state = env.dynamics.step(belief, action, state, noise)
    torch.testing.assert_close(fit_to_particles(state["particles"]).mean, prediction.mean)
    assert env.imagine(belief, action).mean.shape == (2, 3)


def test_a_module_is_its_own_propagation() -> None:
    assert ImaginedEnv(linear_module(3, 1), GymEnv("Pendulum-v1")).propagation_used == "module"
    with pytest.raises(InputError, match=r"can't be asked there .*leave the propagation out"):
        ImaginedEnv(linear_module(3, 1), GymEnv("Pendulum-v1"), propagation="linearized")
