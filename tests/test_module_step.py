"""What is read of the entries that somebody else's module writes, wherever and in what shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase

from imagine_cli import InputError
from imagine_cli.module_step import module_step, writes_reward
from imagine_cli.world_models.base import Prediction

MEAN, VAR = ("next", "observation", "mean"), ("next", "observation", "var")
IN = ["observation", "action"]


def beliefs(*shape: int) -> TensorDict:
    mean, var = torch.randn(*shape, 3), torch.eye(3).expand(*shape, 3, 3)
    observation = TensorDict({"mean": mean, "var": var}, shape)
    return TensorDict({"observation": observation, "action": torch.zeros(*shape, 1)}, shape)


def step(module: torch.nn.Module, given: TensorDict) -> Prediction:
    return module_step(module, given, ("next", "observation"), torch.float32)


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
    assert writes_reward(module)
    assert not writes_reward(module, "var")
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
    assert writes_reward(module, "var")
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
