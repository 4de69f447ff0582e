"""What the model takes, refuses, remembers and writes; its mathematics is in tests/propagation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.errors import InputError
from imagine_cli.registry import WORLD_MODELS
from imagine_cli.world_models import GaussianProcessWorldModel
from tests.helpers.gp_models import random_belief, random_model, stacked


def data(**changes: Any) -> dict[str, Any]:
    """Two outputs, one action, four points."""
    given: dict[str, Any] = {
        "inputs": [[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [0.0, 1.0, -0.5], [1.0, 1.0, 1.0]],
        "targets": [[0.1, -0.1], [0.2, 0.0], [-0.3, 0.4], [0.0, 0.5]],
        "lengthscales": [[1.0, 2.0, 3.0], [0.5, 1.0, 1.5]],
        "signal_variances": [1.0, 0.5],
        "noise_variances": [0.01, 0.02],
    }
    return {**given, **changes}


def make(**changes: Any) -> GaussianProcessWorldModel:
    return GaussianProcessWorldModel.from_hyperparameters(**data(**changes))


def spoilt(name: str, value: float) -> list[Any]:
    array = np.array(data()[name])
    array.flat[-1] = value
    return array.tolist()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": [0.0, 1.0]}, r"inputs \(n, D\+F\) and targets \(n, D\).*inputs \(2,\)"),
        ({"inputs": np.zeros((0, 3)), "targets": np.zeros((0, 2))}, r"inputs \(0, 3\)"),
        ({"targets": [0.0, 0.1, 0.2, 0.3]}, r"targets \(4,\)"),
        ({"targets": np.zeros((4, 0))}, r"targets \(4, 0\)"),
        ({"targets": np.zeros((3, 2))}, r"don't fit together.*targets \(3, 2\)"),
        ({"inputs": np.eye(4)[:, :1]}, r"don't fit together.*inputs \(4, 1\)"),
        ({"lengthscales": [1.0, 2.0, 3.0]}, r"don't fit together.*lengthscales \(3,\)"),
        ({"lengthscales": np.ones((2, 2))}, r"don't fit together.*lengthscales \(2, 2\)"),
        ({"signal_variances": [1.0]}, r"don't fit together.*signal_variances \(1,\)"),
        ({"signal_variances": [[1.0], [1.0]]}, r"signal_variances \(2, 1\)"),
        ({"noise_variances": 0.1}, r"don't fit together.*noise_variances \(\)"),
        ({"inputs": spoilt("inputs", np.nan)}, r"inputs\[3, 2\].*nan"),
        ({"targets": spoilt("targets", np.inf)}, r"targets\[3, 1\].*inf"),
        ({"lengthscales": spoilt("lengthscales", np.nan)}, r"lengthscales\[1, 2\].*nan"),
        ({"signal_variances": spoilt("signal_variances", -np.inf)}, r"signal_variances\[1\].*-inf"),
        ({"noise_variances": spoilt("noise_variances", np.nan)}, r"noise_variances\[1\].*nan"),
        ({"lengthscales": spoilt("lengthscales", 0.0)}, "lengthscales .* must be positive"),
        ({"lengthscales": spoilt("lengthscales", -1.0)}, "lengthscales .* must be positive"),
        ({"signal_variances": [1.0, 0.0]}, "signal_variances .* must be positive"),
        ({"noise_variances": [0.1, -1e-9]}, "noise_variances .* must not be negative"),
        ({"inputs": np.zeros((4, 3)), "noise_variances": [0.0, 0.0]}, "Gram matrix of output 0"),
        ({"inputs": np.zeros((4, 3)), "noise_variances": [0.1, 0.0]}, "Gram matrix of output 1"),
        ({"jitter": -1e-6}, "jitter of 0 or more"),
        ({"jitter": float("nan")}, "jitter of 0 or more"),
        ({"jitter": float("inf")}, "jitter of 0 or more"),
    ],
)
def test_bad_data_gets_its_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_zero_noise_interpolates() -> None:
    model = make(noise_variances=[0.0, 0.0])
    for row, target in zip(model.inputs, model.targets, strict=True):
        found = model.predict(point(row[:2]), ActionBelief(row[2:]))
        torch.testing.assert_close(found.mean, row[:2] + target, rtol=0.0, atol=1e-13)
        assert found.var.abs().max() < 1e-13


def test_data_of_any_kind_is_copied_as_float64() -> None:
    inputs = torch.tensor(data()["inputs"], requires_grad=True)  # float32
    targets = np.array(data()["targets"])
    model = make(inputs=inputs, targets=targets, signal_variances=torch.tensor([1, 2]))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}
    assert not any(value.requires_grad for value in model.state_dict().values())
    targets[:] = 7.0
    with torch.no_grad():
        inputs[:] = 7.0
    assert model.targets.max() == 0.5
    assert model.inputs.max() == 1.0


def test_sizes_and_keys() -> None:
    model = make()
    assert (model.observation_size, model.action_size, model.kind) == (2, 1, "gp")
    assert model.in_keys == ["action", "observation"]
    assert model.out_keys == [("next", "observation", "mean"), ("next", "observation", "var")]
    assert not model.has_reward
    assert list(model.parameters()) == []
    assert set(model.state_dict()) == set(data())
    assert WORLD_MODELS.load("gp") is GaussianProcessWorldModel
    assert model.describe() == {
        "training points": 4,
        "process noise": True,
        "length-scales": data()["lengthscales"],
        "signal variances": data()["signal_variances"],
        "noise variances": data()["noise_variances"],
    }


@pytest.mark.parametrize("compiled", [False, True])
def test_a_state_dict_that_is_loaded_is_what_answers(compiled: bool) -> None:
    model, other = random_model(0, 2, 1, 10), random_model(1, 2, 1, 10)
    if compiled:
        model.compile()
    belief, action = random_belief(other, 1, 0.1)
    model.predict(belief, action)
    model.conditional(belief.mean, action.mean, torch.tensor(3))
    model.load_state_dict(other.state_dict())
    wanted = other.predict(belief, action)
    for one, same in zip(model.predict(belief, action)[:2], wanted[:2], strict=True):
        torch.testing.assert_close(one, same, rtol=1e-10, atol=1e-12)
    drawn = (each.conditional(belief.mean, action.mean, torch.tensor(3)) for each in (model, other))
    assert torch.equal(*(each.mean for each in drawn))


def test_process_noise_is_the_noise_variance() -> None:
    model = random_model(0, 3, 1, 20)
    belief, action = random_belief(model, 1, 0.2)
    with_noise = model.predict(belief, action)
    model.process_noise = False
    without = model.predict(belief, action)
    assert torch.equal(with_noise.mean, without.mean)
    error = with_noise.var - without.var - torch.diag(model.noise_variances)
    deviation = with_noise.var.diagonal().sqrt()
    assert (error.abs() <= 1e-15 * deviation * deviation[:, None]).all()


@pytest.mark.parametrize("process_noise", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_config_and_state_make_it_again(process_noise: bool, dtype: torch.dtype) -> None:
    model = make(process_noise=process_noise, jitter=1e-7, dtype=dtype)
    again = GaussianProcessWorldModel.from_config(model.config(), model.state_dict())
    assert again.config() == model.config()
    assert (again.process_noise, again.jitter, again.dtype) == (process_noise, 1e-7, dtype)
    belief, action = random_belief(model, 1, 0.1, action="policy")
    for found, wanted in zip(
        again.predict(belief, action)[:2], model.predict(belief, action)[:2], strict=True
    ):
        assert found.dtype == dtype
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "process_noise"),
        ({"process_noise": 1, "jitter": 0.0, "dtype": "float64"}, "true or false"),
        ({"process_noise": True, "jitter": "0", "dtype": "float64"}, "jitter"),
        ({"process_noise": True, "jitter": -1.0, "dtype": "float64"}, "jitter"),
        ({"process_noise": True, "jitter": 0.0, "dtype": "float16"}, "float32 or float64"),
        ({"process_noise": True, "jitter": 0.0, "dtype": None}, "float32 or float64"),
        ({"process_noise": True, "jitter": 0.0, "dtype": ["float64"]}, "float32 or float64"),
    ],
)
def test_a_bad_config_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GaussianProcessWorldModel.from_config(config, make().state_dict())


def test_a_bad_state_is_refused() -> None:
    model = make()
    state = model.state_dict()
    state["extra"] = torch.zeros(1)
    with pytest.raises(InputError, match="no extra in its state_dict"):
        GaussianProcessWorldModel.from_config(model.config(), state)
    del state["extra"], state["targets"], state["inputs"]
    with pytest.raises(InputError, match="needs inputs, targets in its state_dict"):
        GaussianProcessWorldModel.from_config(model.config(), state)
    state = model.state_dict()
    state["noise_variances"] = -state["noise_variances"]
    with pytest.raises(InputError, match="must not be negative"):
        GaussianProcessWorldModel.from_config(model.config(), state)


@pytest.mark.parametrize("batch", [(), (3,), (4, 2), (1,), (2, 1, 3)])
def test_a_tensordict_with_beliefs(batch: tuple[int, ...]) -> None:
    model = random_model(0, 2, 1, 10)
    count = int(np.prod(batch))
    flat, flat_action = stacked(model, count, 0.1)
    belief = Belief(*(x.reshape(*batch, *x.shape[1:]) for x in flat))
    parts = ("mean", "var", "cross_covariance")
    action = {
        name: x.reshape(*batch, *x.shape[1:])
        for name, x in zip(parts, flat_action, strict=True)
        if x is not None
    }
    given = TensorDict({"observation": belief._asdict(), "action": action}, batch_size=batch)
    found = model(given)
    assert found is given
    wanted = model.predict(flat, flat_action)
    mean, var = found["next", "observation", "mean"], found["next", "observation", "var"]
    assert torch.equal(mean, wanted.mean.reshape(*batch, 2))
    assert torch.equal(var, wanted.var.reshape(*batch, 2, 2))
    assert torch.equal(found["observation", "mean"], belief.mean)


@pytest.mark.parametrize("batch", [(), (3,), (4, 2)])
def test_a_tensordict_with_plain_tensors(batch: tuple[int, ...]) -> None:
    model = random_model(0, 2, 1, 10, units=False)
    torch.manual_seed(0)
    observation, action = torch.randn(*batch, 2), torch.randn(*batch, 1)  # float32
    found = model(TensorDict({"observation": observation, "action": action}, batch_size=batch))
    wanted = model.predict(point(observation.double()), ActionBelief(action.double()))
    assert torch.equal(found["next", "observation", "mean"], wanted.mean)
    assert torch.equal(found["next", "observation", "var"], wanted.var)
    diagonal = torch.diag_embed(wanted.var.diagonal(dim1=-2, dim2=-1))
    assert torch.equal(wanted.var, diagonal)


@pytest.mark.parametrize("batch", [(), (3,), (4, 2)])
def test_a_discrete_action_by_number_and_one_hot(batch: tuple[int, ...]) -> None:
    model = random_model(0, 2, 3, 10, units=False)
    torch.manual_seed(0)
    observation, number = torch.randn(*batch, 2), torch.randint(0, 3, batch)
    one_hot = torch.nn.functional.one_hot(number, 3)
    results = [
        model(TensorDict({"observation": observation, "action": action}, batch_size=batch))
        for action in (number, one_hot, one_hot.float(), one_hot.bool())
    ]
    for found in results[1:]:
        for name in ("mean", "var"):
            key = ("next", "observation", name)
            assert torch.equal(found[key], results[0][key])


def test_an_action_belief_without_its_var_is_certain() -> None:
    model = random_model(0, 2, 1, 10)
    belief, action = random_belief(model, 3, 0.1)
    nested = TensorDict({"observation": belief._asdict(), "action": {"mean": action.mean}}, [])
    plain = TensorDict({"observation": belief._asdict(), "action": action.mean}, [])
    key = ("next", "observation", "var")
    assert torch.equal(model(nested)[key], model(plain)[key])


def test_float32_outside_and_float64_inside() -> None:
    exact = random_model(0, 2, 1, 30, units=False, noise=(1e-6, 1e-5))
    given = {name: getattr(exact, name) for name in data()}
    model = GaussianProcessWorldModel.from_hyperparameters(**given, dtype=torch.float32)
    belief, action = random_belief(model, 3, 1e-3)
    single = Belief(belief.mean.float(), belief.var.float())
    found = model.predict(single, ActionBelief(action.mean.float()))
    wanted = exact.predict(
        Belief(single.mean.double(), single.var.double()),
        ActionBelief(action.mean.float().double()),
    )
    assert found.mean.dtype == found.var.dtype == torch.float32
    assert torch.equal(found.mean, wanted.mean.float())
    assert torch.equal(found.var, wanted.var.float())
    as_tensordict = TensorDict({"observation": belief.mean, "action": action.mean}, [])
    assert model(as_tensordict)["next", "observation", "mean"].dtype == torch.float32


def test_a_model_cast_to_float32() -> None:
    exact = random_model(0, 2, 1, 20, units=False)
    model = copy.deepcopy(exact).to(torch.float32)
    assert {value.dtype for value in model.buffers() if value.is_floating_point()} == {
        torch.float32
    }
    belief, action = random_belief(exact, 3, 0.1, action="policy")
    found, wanted = model.predict(belief, action), exact.predict(belief, action)
    assert found.mean.dtype == exact.dtype
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.var, wanted.var, rtol=1e-3, atol=1e-3)
    assert not torch.equal(found.mean, wanted.mean)


def test_gradients_reach_belief_and_action_through_a_tensordict() -> None:
    model = random_model(0, 2, 1, 10, units=False)
    belief, action = random_belief(model, 3, 0.1, action="policy")
    leaves: list[Tensor] = [x.clone().requires_grad_() for x in (*belief, *action) if x is not None]
    names = ("mean", "var", "cross_covariance")
    given = TensorDict(
        {
            "observation": dict(zip(names, leaves[:2], strict=False)),
            "action": dict(zip(names, leaves[2:], strict=True)),
        },
        batch_size=[],
    )
    model(given)["next", "observation", "var"].sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad != 0).all()
