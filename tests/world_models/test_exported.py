"""Exported programs: the module's numbers, one point at a time, through every propagation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv
from torchrl.envs.utils import check_env_specs

from imagine_cli import (
    ImaginedEnv,
    InputError,
    export_world_model,
    load_world_model,
    run_rollout,
    save_world_model,
)
from imagine_cli.belief import ActionBelief, point
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.world_models import ExportedWorldModel
from tests.helpers.exported_modules import Network, Plain, sequential
from tests.helpers.linear_systems import belief_in, linear_model

KEYS = {
    "mean": ["next", "observation", "mean"],
    "var": ["next", "observation", "var"],
    "covariance": ["next", "observation", "var"],
    "reward": ["next", "reward", "mean"],
    "reward_var": ["next", "reward", "var"],
}


def exported(module: Any, tmp_path: Path, **given: Any) -> ExportedWorldModel:
    path = tmp_path / "wm.pt2"
    given = {"observation_size": 3, "action_size": 2, "overwrite": True, **given}
    export_world_model(module, path, **given)
    model = load_world_model(path)
    assert isinstance(model, ExportedWorldModel)
    return model


def points(count: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(count, 3, generator=g, dtype=torch.float64).to(dtype)
    return x, torch.randn(count, 2, generator=g, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    ("gives", "difference", "dtype"),
    [
        (("mean", "var"), True, torch.float32),
        (("mean", "covariance"), False, torch.float32),
        (("mean", "reward"), False, torch.float64),
        (("mean", "var", "reward", "reward_var"), True, torch.float64),
        (("reward", "var", "mean"), False, torch.float32),
    ],
)
def test_it_says_what_the_module_says(
    gives: tuple[str, ...], difference: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    module = Network(*gives, difference=difference).to(dtype)
    model = exported(module, tmp_path, out_keys=[KEYS[k] for k in gives], difference=difference)
    assert (model.dtype, model.has_reward) == (dtype, "reward" in gives)
    x, u = points(70, dtype)
    with torch.no_grad():
        said = dict(zip(gives, module(x, u), strict=True))
        at = model.conditional(x.view(7, 10, 3), u.view(7, 10, 2))
    # Two layers of up to 50 numbers: their sums in another order.
    close = {"rtol": 100 * torch.finfo(dtype).eps, "atol": 100 * torch.finfo(dtype).eps}
    mean = x + said["mean"] if difference else said["mean"]
    torch.testing.assert_close(at.mean.view(70, 3), mean, **close)
    if "covariance" in gives:
        torch.testing.assert_close(at.covariance.view(70, 3, 3), said["covariance"], **close)
    else:
        wanted = said.get("var", torch.zeros(70, 3, dtype=dtype))
        torch.testing.assert_close(at.var.reshape(70, 3), wanted, **close)
    if "reward" in gives:
        assert at.reward_mean is not None
        torch.testing.assert_close(at.reward_mean.view(70), said["reward"][:, 0], **close)
        wanted = said.get("reward_var", torch.zeros(70, dtype=dtype))
        assert at.reward_var is not None
        torch.testing.assert_close(at.reward_var.view(70), wanted, **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_points_bits_do_not_depend_on_the_points_beside_it(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = exported(Network("mean", "var", "reward", "reward_var").to(dtype), tmp_path)
    x, u = points(300, dtype)
    together = model.conditional(x, u)
    order = torch.randperm(300, generator=torch.manual_seed(0))
    shuffled = model.conditional(x[order], u[order])
    for rows in (slice(0, 1), slice(13, 20), slice(31, 164), slice(299, 300)):
        for a, b in zip(model.conditional(x[rows], u[rows]), together, strict=True):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b[rows])
    for a, b in zip(shuffled, together, strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b[order])


def test_it_is_differentiable(tmp_path: Path) -> None:
    model = exported(Network("mean", "covariance", "reward").double(), tmp_path, out_keys=[
        KEYS["mean"], KEYS["covariance"], KEYS["reward"],
    ])  # fmt: skip
    inputs = [part[:4].requires_grad_() for part in points(4)]
    assert torch.autograd.gradcheck(lambda x, u: tuple(model.conditional(x, u)), inputs)
    x, u = (part[0].detach() for part in inputs)
    one = torch.func.jacfwd(lambda x: model.conditional(x[None], u[None]).mean[0])(x)
    other = torch.func.jacrev(lambda x: model.conditional(x[None], u[None]).mean[0])(x)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_a_linear_programs_propagations_are_exact(tmp_path: Path) -> None:
    """Against the closed form of the linear-Gaussian model with the same A, B, c and Q."""
    oracle = linear_model(3, 2)
    covariance = oracle.noise_covariance.clone()

    def function(x: torch.Tensor, u: torch.Tensor) -> Any:
        mean = x @ oracle.transition.mT + u @ oracle.control.mT + oracle.offset
        return mean, covariance.expand(x.shape[0], 3, 3)

    module = Plain(function)
    module.register_buffer("dtype_is", torch.zeros((), dtype=torch.float64))
    model = exported(module, tmp_path)
    belief, action = belief_in(3, 2, 0, batch=4)
    wanted = oracle.predict(belief, action)
    for name in ("linearized", "unscented"):
        way = make_propagation(name, model)
        noise = TrajectoryNoise(0, 0, 4, torch.float64)
        found, _ = way.step(model, belief, action, {}, noise)
        torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.var, wanted.var, rtol=1e-11, atol=1e-12)
    way = make_propagation("particles", model, particles=20_000)
    noise = TrajectoryNoise(0, 0, 4, torch.float64)
    found, _ = way.step(model, belief, action, way.begin(model, belief, noise), noise)
    error = (wanted.var.diagonal(dim1=-2, dim2=-1) / 20_000).sqrt()
    assert ((found.mean - wanted.mean).abs() < 5 * error).all()  # 12 means of Gaussians
    assert ((found.mean - wanted.mean).abs() > 0).all()


def test_a_deterministic_program_has_the_noise_it_is_told(tmp_path: Path) -> None:
    x, u = points(5, torch.float32)
    action = ActionBelief(u)
    model = exported(Network("mean"), tmp_path)
    assert model.deterministic
    assert (model.predict(point(x), action).var == 0).all()
    state, config = dict(model.state_dict()), model.config()
    with pytest.raises(InputError, match="for each of 3 dimensions"):
        model.from_config({**config, "process_noise": [0.1]}, state)
    with pytest.raises(InputError, match="finite numbers from 0"):
        model.from_config({**config, "process_noise": [0.1, -0.1, 0.1]}, state)
    model = exported(Network("mean"), tmp_path, process_noise=[0.1, 0.0, 0.2])
    var = model.predict(point(x), action).var
    wanted = torch.diag(torch.tensor([0.1, 0.0, 0.2]).square()).expand(5, 3, 3)
    torch.testing.assert_close(var, wanted, rtol=1e-6, atol=0)
    with pytest.raises(InputError, match="model that gives no var of its own"):
        exported(Network("mean", "var"), tmp_path, process_noise=[0.1, 0.1, 0.1])


def test_a_tensordict_module_says_what_is_what(tmp_path: Path) -> None:
    module = sequential()
    model = exported(module, tmp_path)
    x, u = points(9, torch.float32)
    with torch.no_grad():
        _, _, mean, var, reward = module(observation=x, action=u)
    at = model.conditional(x, u)
    torch.testing.assert_close(at.mean, mean)
    torch.testing.assert_close(at.var, var)
    assert at.reward_mean is not None
    torch.testing.assert_close(at.reward_mean, reward[:, 0])


def test_a_module_in_training_is_exported_as_evaluated_and_left_in_training(
    tmp_path: Path,
) -> None:
    module = Network("mean")
    module.body.insert(2, torch.nn.Dropout(0.5))
    module.body[0].eval()
    x, u = points(9, torch.float32)
    at = exported(module, tmp_path).conditional(x, u)
    assert (module.training, module.body[0].training, module.body[2].training) == (1, 0, 1)
    with torch.no_grad():
        torch.testing.assert_close(at.mean, module.eval()(x, u)[0])


@pytest.mark.parametrize("propagation", [None, "unscented", "particles"])
def test_rollouts(propagation: str | None, tmp_path: Path) -> None:
    path = tmp_path / "wm.pt2"
    body = torch.nn.Linear(4, 3)
    module = Plain(lambda x, u: (0.9 * x + body(torch.cat([x, u], -1)).tanh(), 0.01 * x.square()))
    module.body = body
    export_world_model(module, path, env="Pendulum-v1")
    for name in ("a.h5", "b.h5"):
        run_rollout(
            "Pendulum-v1", path, steps=4, trajectories=5, propagation=propagation,
            output=tmp_path / name,
        )  # fmt: skip
    import h5py

    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert a.attrs["model_kind"] == "exported"
        np.testing.assert_array_equal(a["observation/var"], b["observation/var"])
        assert (np.linalg.eigvalsh(a["observation/var"][:, -1]) > 0).all()
    env = ImaginedEnv(
        load_world_model(path), GymEnv("Pendulum-v1"), batch_size=2, propagation=propagation
    )
    check_env_specs(env)
    with pytest.raises(InputError, match="is a model of Pendulum-v1, not of"):
        run_rollout("CartPole-v1", path, output=tmp_path / "c.h5")


def test_a_checkpoint_of_ours_makes_it_again(tmp_path: Path) -> None:
    model = exported(Network("mean", "var", "reward"), tmp_path)
    save_world_model(model, tmp_path / "wm.pt")
    again = load_world_model(tmp_path / "wm.pt")
    x, u = points(40, torch.float32)
    for a, b in zip(model.conditional(x, u), again.conditional(x, u), strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
    assert again.describe() == model.describe()


@pytest.mark.parametrize(
    ("module", "given", "sentence"),
    [
        (Plain(lambda x, u: x + torch.randn_like(x)), {}, "draws at random"),
        (Plain(lambda x, u: torch.nn.functional.dropout(x)), {}, "draws at random"),
        (Plain(lambda x, u: torch.linalg.inv(x @ x.mT) @ x), {}, "which is none of the operators"),
        (Plain(lambda x, u: x[:, :2]), {}, r"mean of shape \(2, 2\) at \(2, 3\)"),
        (Plain(lambda x, u: (x, x[:, :2])), {}, r"var of shape \(2, 2\)"),
        (Plain(lambda x, u: x.view(7, 3) * 2), {}, "torch.export can't export the module"),
        (Plain(lambda x, u: "x"), {}, "something that is no tensor"),
        (Plain(lambda x, u: x @ u), {}, r"fails at points \(7, 3\) and \(7, 2\)"),
        (Plain(lambda x, u: x), {"in_keys": ["observation", "state"]}, "reads 'observation' and"),
        (Plain(lambda x, u: x), {"out_keys": ["a", "b"]}, "1 outputs, and there are keys for"),
        (Plain(lambda x, u: x), {"out_keys": ["a"]}, "writes one mean of the next observation"),
        (Plain(lambda x, u: x), {"action_size": None}, "needs env, or observation_size"),
        (torch.nn.Bilinear(3, 2, 3).half(), {}, "float32 or float64, not torch.float16"),
    ],
)
def test_modules_that_can_not_be_exported(
    module: Any, given: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        exported(module, tmp_path, **given)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_operators_that_are_not_run_are_made_of_those_that_are(tmp_path: Path) -> None:
    module = Plain(lambda x, u: torch.einsum("nd,de->ne", x, torch.eye(3)) + u.sum(-1, True))
    model = exported(module, tmp_path)
    x, u = points(9, torch.float32)
    torch.testing.assert_close(model.conditional(x, u).mean, x + u.sum(-1, True))


def test_it_computes_in_the_dtype_that_it_is_put_in(tmp_path: Path) -> None:
    model = exported(Network("mean", "var", "reward"), tmp_path)
    x, u = points(5, torch.float32)
    plain = model.conditional(x, u)
    model.double()
    assert (model.computes_in, model.dtype) == (torch.float64, torch.float32)
    found = model.conditional(x, u)
    assert found.mean.dtype == torch.float32
    torch.testing.assert_close(found.mean, plain.mean, rtol=1e-5, atol=1e-5)
    assert not torch.equal(found.mean, plain.mean)
    again = model.from_config(model.config(), dict(model.state_dict()))
    assert torch.equal(again.conditional(x, u).mean, found.mean)
    assert model.float().conditional(x, u).mean.dtype == torch.float32


def test_noise_has_the_digits_of_float64(tmp_path: Path) -> None:
    noise = np.array([0.1, 0.0, 1e39])
    model = exported(Network("mean").double(), tmp_path, process_noise=noise)
    x, u = points(2)
    assert model.conditional(x, u).var[0].tolist() == [0.1 * 0.1, 0.0, 1e39 * 1e39]
    with pytest.raises(InputError, match="too large for torch.float32"):
        exported(Network("mean"), tmp_path, process_noise=noise)


def test_a_variance_of_a_reward_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a reward 'var' needs a reward's mean"):
        exported(
            Network("mean", "reward_var"), tmp_path, out_keys=[KEYS["mean"], KEYS["reward_var"]]
        )
