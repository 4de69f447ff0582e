"""TensorDictModules that are asked at points: every propagation goes through them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule
from torchrl.envs import GymEnv
from torchrl.envs.utils import check_env_specs

from imagine_cli import ImaginedEnv, ImagineError, InputError, run_rollout, save_world_model
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.world_models.module import ModuleWorldModel
from tests.helpers.exported_modules import Network, sequential
from tests.helpers.worlds import linear_module, small_gp

MEAN, VAR = ("next", "observation", "mean"), ("next", "observation", "var")
REWARD = ("next", "reward")
IN = ["observation", "action"]


class Pendulum(torch.nn.Module):
    """Pendulum-v1's equations: a deterministic model of the next observation."""

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> Any:
        angle = torch.atan2(observation[..., 1], observation[..., 0])
        speed = observation[..., 2]
        torque = action[..., 0].clamp(-2.0, 2.0)
        speed = (speed + 0.05 * (15.0 * torch.sin(angle) + 3.0 * torque)).clamp(-8.0, 8.0)
        angle = angle + 0.05 * speed
        return torch.stack([torch.cos(angle), torch.sin(angle), speed], dim=-1)


def pendulum(*keys: Any) -> TensorDictModule:
    return TensorDictModule(Pendulum(), in_keys=IN, out_keys=list(keys or [MEAN]))


def takes_plain() -> TensorDictModule:
    return TensorDictModule(lambda o, u: torch.cat([o, u], -1)[..., :3], IN, [MEAN])


def points(count: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(count, 3, generator=g, dtype=torch.float64).to(dtype)
    return x, torch.randn(count, 2, generator=g, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_says_what_the_module_says_whatever_is_beside_it(dtype: torch.dtype) -> None:
    network = Network("mean", "covariance", "reward").to(dtype)
    module = TensorDictModule(network, IN, [MEAN, VAR, REWARD])
    model = ModuleWorldModel(module, 3, 2)
    assert (model.dtype, model.has_reward, model.kind) == (dtype, True, "module")
    x, u = points(300, dtype)
    with torch.no_grad():
        mean, var, reward = network(x, u)
        together = model.conditional(x, u)
    close = {"rtol": 100 * torch.finfo(dtype).eps, "atol": 100 * torch.finfo(dtype).eps}
    torch.testing.assert_close(together.mean, mean, **close)
    torch.testing.assert_close(together.var, var, **close)
    assert together.reward_mean is not None
    torch.testing.assert_close(together.reward_mean, reward[:, 0], **close)
    for rows in (slice(0, 1), slice(13, 20), slice(31, 164), slice(299, 300)):
        for a, b in zip(model.conditional(x[rows], u[rows]), together, strict=True):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b[rows])


def test_jacobians_against_finite_differences() -> None:
    model = ModuleWorldModel(pendulum().double(), 3, 1, dtype=torch.float64)
    belief = Belief(
        torch.tensor([[0.6, 0.8, 0.5]]).double(),
        torch.diag(torch.tensor([1.0, 2, 3]))[None].double(),
    )
    u = torch.tensor([[0.3]]).double()
    found = model.predict(belief, ActionBelief(u))
    step = 1e-6
    columns = []
    for k in range(3):
        shift = step * torch.eye(3).double()[k]
        up, down = (Pendulum()(belief.mean + s * shift, u) for s in (1, -1))
        columns.append((up - down)[0] / (2 * step))
    jacobian = torch.stack(columns, dim=-1)
    # Central differences are off by step² and by eps / step: 1e-9 and less.
    torch.testing.assert_close(
        found.var[0], jacobian @ belief.var[0] @ jacobian.mT, rtol=1e-7, atol=1e-8
    )
    torch.testing.assert_close(found.mean, Pendulum()(belief.mean, u))


@pytest.mark.parametrize("key", [MEAN, ("next", "observation"), "next_observation"])
def test_a_deterministic_module_adds_no_noise_unless_told(key: Any) -> None:
    where = key if key == "next_observation" else ("next", "observation")
    model = ModuleWorldModel(pendulum(key), 3, 1, next_observation_key=where)
    x, u = torch.tensor([[0.6, 0.8, 0.5]]), torch.zeros(1, 1)
    assert (model.predict(point(x), ActionBelief(u)).var == 0).all()
    noisy = ModuleWorldModel(
        pendulum(key), 3, 1, next_observation_key=where, process_noise=[0.0, 0.1, 0.2]
    )
    var = noisy.predict(point(x), ActionBelief(u)).var[0]
    torch.testing.assert_close(var, torch.diag(torch.tensor([0.0, 0.01, 0.04])))
    with pytest.raises(InputError, match="for each of 3 dimensions"):
        ModuleWorldModel(pendulum(), 3, 1, process_noise=[0.1])


@pytest.mark.parametrize("way", ["linearized", "unscented", "particles"])
def test_through_an_env(way: str) -> None:
    env = ImaginedEnv(pendulum(), GymEnv("Pendulum-v1"), batch_size=3, propagation=way)
    check_env_specs(env)
    assert env.propagation_used.startswith(way)
    rollout = env.rollout(3)
    assert torch.isfinite(rollout["next", "observation", "var"]).all()
    assert not env.has_reward
    alone = ImaginedEnv(sequential(), GymEnv("Pendulum-v1"), batch_size=3)
    assert alone.propagation_used == "module"  # its own is the default


def test_rollouts_of_the_true_equations_follow_the_real_env(tmp_path: Path) -> None:
    """And particles that start apart stay apart without noise."""
    import gymnasium

    actions = np.random.default_rng(0).uniform(-2, 2, size=(10, 1)).astype(np.float32)
    np.save(tmp_path / "actions.npy", actions)
    run_rollout(
        "Pendulum-v1", pendulum(), steps=10, policy=str(tmp_path / "actions.npy"),
        start="mean=1,0,0;var=0,0,0", propagation="linearized", output=tmp_path / "a.h5",
    )  # fmt: skip
    env = gymnasium.make("Pendulum-v1")
    env.reset()
    env.unwrapped.state = np.array([0.0, 0.0])  # type: ignore[attr-defined]
    real = [env.step(action)[0] for action in actions]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["model_kind"] == "module"
        assert file.attrs["propagation"] == "linearized"
        np.testing.assert_allclose(file["observation/mean"][0, 1:], real, rtol=0, atol=2e-5)
        assert (file["observation/var"][:] == 0).all()
    run_rollout(
        "Pendulum-v1", pendulum(), steps=2, start="mean=1,0,0;var=0.01,0.01,0.1",
        propagation="particles", particles=50, save_particles=True, output=tmp_path / "b.h5",
    )  # fmt: skip
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["particles/observation"].shape == (1, 50, 3, 3)
        assert (np.linalg.eigvalsh(file["observation/var"][0, 1]) > 1e-6).sum() >= 2


def test_a_pickled_module_goes_the_same_way(tmp_path: Path) -> None:
    torch.save(pendulum(), tmp_path / "module.pt")
    with pytest.warns(UserWarning, match="trust-pickle"):
        run_rollout(
            "Pendulum-v1", tmp_path / "module.pt", steps=2, trust_pickle=True,
            propagation="unscented", output=tmp_path / "a.h5",
        )  # fmt: skip
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["propagation"].startswith("unscented")


def test_modules_that_can_not_be_asked_at_points(tmp_path: Path) -> None:
    for module in (linear_module(3, 1), pendulum(REWARD)):
        with pytest.raises(InputError, match=r"can't be asked there .*leave the propagation out"):
            ModuleWorldModel(module, 3, 1)
    with pytest.raises(ImagineError, match=r"can't be given a belief.*name a propagation: linear"):
        run_rollout("Pendulum-v1", takes_plain(), output=tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"particles belongs to another propagation"):
        run_rollout("Pendulum-v1", pendulum(), particles=5, output=tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"propagation 'moments' does not fit"):
        run_rollout("Pendulum-v1", pendulum(), propagation="moments", output=tmp_path / "a.h5")
    with pytest.raises(InputError, match="a module is code"):
        save_world_model(ModuleWorldModel(pendulum(), 3, 1), tmp_path / "wm.pt")
    assert list(tmp_path.iterdir()) == []
    save_world_model(small_gp(3, 1), tmp_path / "wm.pt")  # as others can


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_dtype_that_it_is_put_in(dtype: torch.dtype) -> None:
    first = torch.float64 if dtype == torch.float32 else torch.float32
    module = TensorDictModule(Network("mean", "var", "reward").to(first), IN, [MEAN, VAR, REWARD])
    model = ModuleWorldModel(module, 3, 2).to(dtype)
    assert (model.computes_in, model.dtype) == (dtype, first)
    x, u = points(5, first)
    at = model.conditional(x, u)
    assert at.mean.dtype == first
    with torch.no_grad():
        mean = module.module(x.to(dtype), u.to(dtype))[0]
    torch.testing.assert_close(at.mean, mean.to(first), rtol=1e-5, atol=1e-5)


def test_without_a_dtype_of_its_own_it_has_torchs_default() -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert ModuleWorldModel(takes_plain(), 3, 1).dtype == torch.float64
    finally:
        torch.set_default_dtype(default)


def test_a_reward_is_found_below_reward_too() -> None:
    network = Network("mean", "var", "reward")
    keys: list[list[Any]] = [[MEAN, VAR, REWARD], [MEAN, VAR, ("reward", "mean")]]
    x, u = points(5, torch.float32)
    one, other = (
        ModuleWorldModel(TensorDictModule(network, IN, some), 3, 2).conditional(x, u)
        for some in keys
    )
    assert one.reward_mean is not None
    assert other.reward_mean is not None
    assert torch.equal(one.reward_mean, other.reward_mean)
