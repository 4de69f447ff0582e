from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule

from imagine_cli import ImagineError, InputError, run_rollout, save_world_model
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import describe, make_env
from tests.helpers.worlds import MultiDiscreteEnv, linear_module, small_gp

if "imagine/Two-v0" not in gymnasium.registry:
    gymnasium.register("imagine/Two-v0", entry_point=MultiDiscreteEnv)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        found.update({f"@{key}": value for key, value in file.attrs.items()})
        file.visititems(
            lambda name, node: (
                found.update({name: node[()]})
                if isinstance(node, h5py.Dataset) and name.split("/")[1] in ("mean", "var")
                else None
            )
        )
    return found


def go(tmp_path: Path, model: Any, env: str = "Pendulum-v1", **kwargs: Any) -> dict[str, Any]:
    path = tmp_path / "rollout.h5"
    run_rollout(env, model, output=path, **{"overwrite": True, "steps": 5, **kwargs})
    return read(path)


def test_the_file_holds_what_the_model_says_step_by_step(tmp_path: Path) -> None:
    gp = small_gp(3, 1)
    data = go(tmp_path, gp, trajectories=3, steps=6, policy="constant:0.5")
    assert data["observation/mean"].shape == (3, 7, 3)
    assert data["observation/var"].shape == (3, 7, 3, 3)
    assert data["action/mean"].shape == (3, 6, 1)
    assert (data["action/mean"] == 0.5).all()
    assert "action/var" not in data
    assert "reward/mean" not in data
    belief = Belief(
        torch.tensor(data["observation/mean"][:, 0]), torch.tensor(data["observation/var"][:, 0])
    )
    assert not belief.var.any()
    for step in range(6):
        belief = Belief(*gp.predict(belief, ActionBelief(torch.full((3, 1), 0.5).double()))[:2])
        assert np.array_equal(data["observation/mean"][:, step + 1], belief.mean.numpy())
        assert np.array_equal(data["observation/var"][:, step + 1], belief.var.numpy())


def test_where_it_came_from_is_in_the_file(tmp_path: Path) -> None:
    save_world_model(small_gp(3, 1), tmp_path / "wm.pt")
    data = go(tmp_path, tmp_path / "wm.pt", seed=5, env_kwargs={"g": 9.81}, command="imagine x")
    import hashlib

    digest = hashlib.sha256((tmp_path / "wm.pt").read_bytes()).hexdigest()
    assert data["@model_sha256"] == digest
    expected = {
        "format": "imagine-rollout",
        "format_version": 1,
        "complete": True,
        "env_id": "Pendulum-v1",
        "env_kwargs": '{"g": 9.81}',
        "policy": "random",
        "propagation": "moments",
        "model_kind": "gp",
        "model_path": str(tmp_path / "wm.pt"),
        "seed": 5,
        "steps": 5,
        "trajectories": 1,
        "command": "imagine x",
        "torch_version": version("torch"),  # of a GPU's build torch.__version__ says more
    }
    assert {key: data[f"@{key}"] for key in expected} == expected


@pytest.mark.parametrize("policy", ["random", "zero"])
def test_a_trajectory_is_the_same_to_the_bit_in_any_company(tmp_path: Path, policy: str) -> None:
    gp = small_gp(3, 1, n=40)
    whole = go(tmp_path, gp, trajectories=33, seed=3, policy=policy)
    again = go(tmp_path, gp, trajectories=33, seed=3, policy=policy)
    for count in (1, 2, 7):
        some = go(tmp_path, gp, trajectories=count, seed=3, policy=policy)
        for key in ("observation/mean", "observation/var", "action/mean"):
            assert np.array_equal(some[key], whole[key][:count]), (key, count)
            assert np.array_equal(again[key], whole[key])
    other = go(tmp_path, gp, trajectories=33, seed=4, policy=policy)
    assert not np.array_equal(other["observation/mean"], whole["observation/mean"])


def test_more_steps_only_add_to_it(tmp_path: Path) -> None:
    gp = small_gp(3, 1)
    short, long = go(tmp_path, gp, steps=5), go(tmp_path, gp, steps=600)
    assert np.array_equal(short["observation/var"], long["observation/var"][:, :6])


def test_threads_do_not_change_a_bit(tmp_path: Path) -> None:
    save_world_model(small_gp(3, 1, n=150), tmp_path / "wm.pt")
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(go(tmp_path, tmp_path / "wm.pt", trajectories=4)["observation/var"])
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(tmp_path: Path, dtype: str) -> None:
    data = go(tmp_path, small_gp(3, 1), dtype=dtype)
    assert data["observation/var"].dtype == dtype
    assert go(tmp_path, linear_module(3, 1), dtype=dtype)["observation/mean"].dtype == dtype


@pytest.mark.parametrize("reward", ["", "mean", "both"])
def test_a_reward_is_written_only_where_there_is_a_model_of_it(tmp_path: Path, reward: str) -> None:
    data = go(tmp_path, linear_module(3, 1, reward=reward), trajectories=2)
    assert ("reward/mean" in data) == (reward != "")
    assert ("reward/var" in data) == (reward == "both")
    if reward:
        expected = -np.square(data["observation/mean"][:, 1:]).sum(-1)
        assert np.allclose(data["reward/mean"], expected, rtol=1e-6)
    if reward == "both":
        assert (data["reward/var"] == 0.25).all()


def test_a_reward_below_reward_is_the_modules_own(tmp_path: Path) -> None:
    module = linear_module(3, 1, reward="both")
    wanted = go(tmp_path, module, trajectories=2)
    keys = [*module.out_keys[:2], ("reward", "mean"), ("reward", "var")]
    moved = TensorDictModule(module.module, in_keys=module.in_keys, out_keys=keys)
    found = go(tmp_path, moved, trajectories=2)
    for name in ("reward/mean", "reward/var"):
        assert np.array_equal(found[name], wanted[name])


def test_discrete_and_multidiscrete_envs(tmp_path: Path) -> None:
    data = go(tmp_path, small_gp(4, 2), "CartPole-v1", trajectories=3)
    assert data["action/mean"].shape == (3, 5, 2)
    assert (data["action/mean"].sum(-1) == 1).all()
    data = go(tmp_path, small_gp(2, 5), "imagine/Two-v0", trajectories=2)
    assert (data["action/mean"].sum(-1) == 2).all()
    assert data["@env_id"] == "imagine/Two-v0"


def test_a_policy_over_beliefs_leaves_its_variance(tmp_path: Path) -> None:
    from imagine_cli.policies import LinearPolicy, save_policy

    weight = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    save_policy(LinearPolicy(weight, torch.zeros(1).double()), tmp_path / "p.pt")
    data = go(tmp_path, small_gp(3, 1), policy=str(tmp_path / "p.pt"), start="belief")
    var = data["observation/var"][:, :-1]
    expected = weight.numpy() @ var @ weight.numpy().T
    assert np.allclose(data["action/var"], expected, rtol=1e-12)


def test_a_rollout_can_be_replayed_and_gone_on_with(tmp_path: Path) -> None:
    gp = small_gp(3, 1)
    first = tmp_path / "first.h5"
    run_rollout("Pendulum-v1", gp, steps=8, trajectories=3, output=first)
    data = go(tmp_path, gp, steps=8, trajectories=3, policy=str(first))
    assert np.array_equal(data["observation/var"], read(first)["observation/var"])
    data = go(tmp_path, gp, steps=2, trajectories=3, start=str(first), policy="zero")
    assert np.array_equal(data["observation/mean"][:, 0], read(first)["observation/mean"][:, -1])
    with pytest.raises(InputError, match="8"):
        go(tmp_path, gp, steps=9, trajectories=3, policy=str(first))


class Exploding(torch.nn.Module):
    def forward(self, action: Any, observation: Any) -> Any:
        mean = observation["mean"].clone()
        mean[..., 1] = mean[..., 1].abs() * 1e200 + 1e200
        return mean, observation["var"]


def test_numbers_that_are_not_finite_stop_it_and_leave_nothing(tmp_path: Path) -> None:
    model = linear_module(3, 1, torch.float64)
    model.module = Exploding()
    model.dtype = torch.float64
    with pytest.raises(
        ImagineError, match=r"not finite at step 2 of trajectory 0, dimension sin\(theta\)"
    ) as caught:
        run_rollout("Pendulum-v1", model, output=tmp_path / "r.h5", trajectories=2)
    assert caught.value.exit_status == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"steps": 0}, "--steps is 0; it must be 1 or more"),
        ({"trajectories": -1}, "--trajectories is -1"),
        ({"seed": -1}, "--seed is -1"),
        ({"env": "Pendulun-v1"}, "no env 'Pendulun-v1'.*Did you mean"),
        ({"env": "nomodule:X-v0"}, "needs a module that is missing"),
        ({"env": "CartPole-v1"}, "size 3 and actions of size 1, but the env has 4 and 2"),
        ({"env_kwargs": {"gg": 1}}, "it takes no argument 'gg'"),
        ({"dtype": "float16"}, "--dtype 'float16' is not float32 or float64"),
        ({"device": "abacus"}, "--device 'abacus' can't be used: torch has no device of that name"),
        ({"policy": "randm"}, "no policy 'randm'"),
        ({"start": "end"}, "no start 'end'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_arguments_that_can_not_be_used(tmp_path: Path, kwargs: Any, sentence: str) -> None:
    env = kwargs.pop("env", "Pendulum-v1")
    with pytest.raises(InputError, match=sentence):
        run_rollout(env, small_gp(3, 1), output=tmp_path / "r.h5", **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_env_is_refused(tmp_path: Path) -> None:
    env = describe(make_env("MountainCarContinuous-v0"))
    save_world_model(small_gp(2, 1), tmp_path / "wm.pt", env=env)
    with pytest.raises(InputError, match="is a model of MountainCarContinuous-v0"):
        run_rollout("Pendulum-v1", tmp_path / "wm.pt", output=tmp_path / "r.h5")


def test_a_model_that_is_given_stays_as_it_is(tmp_path: Path) -> None:
    gp, module = small_gp(3, 1), linear_module(3, 1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for model in (gp, module):
        run_rollout(
            "Pendulum-v1", model, steps=2, dtype="float32", compiled=model is gp,
            output=tmp_path / f"{model is gp}.h5",
        )  # fmt: skip
    assert gp.dtype == torch.float64
    assert not gp._compiled
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
