"""Modules of others that take beliefs: what they write is read, and how they are stepped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase

from imagine_cli import InputError
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation import fitting, make_propagation
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.world_models import BeliefModule, ModuleWorldModel, as_world_model
from imagine_cli.world_models.interfaces import Prediction
from tests.helpers.worlds import linear_module, small_gp

MEAN, VAR = ("next", "observation", "mean"), ("next", "observation", "var")
IN = ["observation", "action"]


def beliefs(*shape: int) -> TensorDict:
    mean, var = torch.randn(*shape, 3), torch.eye(3).expand(*shape, 3, 3)
    observation = TensorDict({"mean": mean, "var": var}, shape)
    return TensorDict({"observation": observation, "action": torch.zeros(*shape, 1)}, shape)


def step(module: torch.nn.Module, given: TensorDict) -> Prediction:
    return BeliefModule(module, 3, 1, dtype=torch.float32).predict_from(given)


def writing(**entries: Any) -> TensorDictModule:
    """A module that writes these; a function of the mean, or something for each point."""
    keys = [tuple(name.split("__")) if "__" in name else name for name in entries]

    def forward(observation: Any, action: Any) -> Any:
        return tuple(make(observation["mean"]) for make in entries.values())

    return TensorDictModule(forward, IN, keys)


def same(x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize("key", ["reward", "reward__mean", "next__reward", "next__reward__mean"])
@pytest.mark.parametrize("shape", [(2,), (4, 2)])
def test_a_reward_is_read_wherever_a_module_may_say_it_writes_one(
    key: str, shape: tuple[int, ...]
) -> None:
    module = writing(**{"next__observation__mean": same, key: lambda x: x.sum(-1, keepdim=True)})
    given = beliefs(*shape)
    found = step(module, given.clone())
    model = as_world_model(module, 3, 1)
    assert (model.has_reward, model.has_reward_var) == (True, False)
    assert found.reward_mean is not None
    assert torch.equal(found.reward_mean, given["observation", "mean"].sum(-1))
    assert found.reward_var is None


def test_a_rewards_variance_is_read_beside_it() -> None:
    module = writing(
        next__observation__mean=same,
        reward__mean=lambda x: x[..., :1],
        reward__var=lambda x: x[..., :1].square(),
    )
    given = beliefs(2)
    found = step(module, given.clone())
    assert as_world_model(module, 3, 1).has_reward_var
    assert found.reward_var is not None
    assert torch.equal(found.reward_var, given["observation", "mean"][:, 0].square())


def test_a_reward_that_was_there_before_is_not_the_modules() -> None:
    given = beliefs(2).set("reward", torch.ones(2, 1))
    assert step(writing(next__observation__mean=same), given).reward_mean is None


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"next__observation__mean": lambda x: x[..., :1]}, r"mean of shape \(2, 1\) at \(2, 3\)"),
        ({"next__observation__mean": lambda x: x[..., :2]}, r"mean of shape \(2, 2\) at \(2, 3\)"),
        ({"next__observation__loc": same}, "no 'mean' below it"),
        ({"next__other": same}, "wrote nothing at next_observation_key"),
        (
            {"next__observation__mean": same, "next__observation__var": lambda x: x[..., :1]},
            r"var of shape \(2, 1\) at \(2, 3\)",
        ),
        (
            {"next__observation__mean": same, "next__reward": same},
            r"reward of shape \(2, 3\) at 2 points",
        ),
        (
            {"next__observation__mean": same, "next__reward__var": lambda x: x[..., :1]},
            "variance of a reward, and no mean of it",
        ),
    ],
)
def test_other_entries_and_shapes_are_refused(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        step(writing(**entries), beliefs(2))
    assert "\n" not in str(caught.value)


class OneAxis(TensorDictModuleBase):
    """Answers in one batch axis, whatever it is asked in."""

    in_keys, out_keys = IN, (MEAN, VAR)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        given = tensordict.reshape(-1)
        return TensorDict({MEAN: given[IN[0], "mean"], VAR: given[IN[0], "var"]}, given.shape)


def test_a_module_may_answer_in_one_batch_axis() -> None:
    given = beliefs(4, 2)
    found = step(OneAxis(), given.clone())
    assert torch.equal(found.mean, given["observation", "mean"])
    assert torch.equal(found.var, given["observation", "var"])


def test_it_is_its_own_propagation_and_no_other_fits_it() -> None:
    model = as_world_model(writing(next__observation__mean=same), 3, 1)
    assert isinstance(model, BeliefModule)
    found = make_propagation(None, model)
    assert (found.name, found.description, fitting(model)) == ("module", "module", ["module"])
    with pytest.raises(InputError, match="'linearized' does not fit a world model .* use module"):
        make_propagation("linearized", model)
    with pytest.raises(InputError, match="'module' does not fit a world model of kind 'gp'"):
        make_propagation("module", small_gp(3, 1))


def test_a_step_without_a_tensordict_is_the_one_with_it() -> None:
    model = as_world_model(linear_module(3, 1), 3, 1)
    given = beliefs(4)
    belief, action = Belief(*given["observation"].values()), ActionBelief(given["action"])
    own, noise = make_propagation(None, model), TorchNoise([4], torch.float32)
    alone, _ = own.step(model, belief, action, {}, noise)
    inside, _ = own.step_from(model, given.clone(), noise)
    for one, other in zip(alone[:2], inside[:2], strict=True):
        assert torch.equal(one, other)


def test_a_module_reads_whatever_else_is_in_the_tensordict() -> None:
    def shift(observation: Any, action: Any, wind: Any) -> Any:
        return observation["mean"] + wind

    module = TensorDictModule(shift, [*IN, "wind"], [MEAN])
    given = beliefs(2).set("wind", torch.full((2, 3), 2.0))
    model = as_world_model(module, 3, 1)
    found, _ = make_propagation(None, model).step_from(
        model, given.clone(), TorchNoise([2], torch.float32)
    )
    assert torch.equal(found.mean, given["observation", "mean"] + 2.0)


def test_what_a_module_becomes_and_in_which_dtype() -> None:
    gp = small_gp(3, 1)
    assert as_world_model(gp, 3, 1, propagation="particles") is gp
    points = TensorDictModule(lambda x, u: x, IN, [MEAN])
    assert isinstance(as_world_model(points, 3, 1, propagation="linearized"), ModuleWorldModel)
    assert isinstance(as_world_model(points, 3, 1, propagation="module"), BeliefModule)
    assert as_world_model(points, 3, 1, dtype=torch.float64).dtype == torch.float64
    assert as_world_model(points, 3, 1, dtype=torch.int64).dtype == torch.get_default_dtype()
    layer = TensorDictModule(torch.nn.Linear(3, 3).double(), ["observation"], [MEAN])
    assert as_world_model(layer, 3, 1, dtype=torch.float32).dtype == torch.float64
