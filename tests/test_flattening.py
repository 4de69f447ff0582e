"""Observations of any space as vectors, by Gymnasium's own flattening."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from imagine_cli.environments import describe, make_env, opened_env, real_resets
from imagine_cli.errors import InputError, Remark
from imagine_cli.flattening import flat
from imagine_cli.policies import make_policy
from imagine_cli.rollout.real import real_episode

SPACE = spaces.Dict(
    goal=spaces.Box(-1.0, 1.0, (2,)),
    cell=spaces.Discrete(3, start=1),
    bits=spaces.MultiBinary(2),
    pair=spaces.Tuple((spaces.MultiDiscrete([2, 2]), spaces.Box(0.0, 5.0, (1, 2)))),
)


class Observed(gymnasium.Env[Any, Any]):
    """An env that is observed by samples of a space."""

    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.last = self.observation_space.sample()
        return self.last, {}

    def step(self, action: Any) -> Any:
        self.last = self.observation_space.sample()
        return self.last, 0.0, False, False, {}


def test_a_dict_is_flattened_and_its_names_kept() -> None:
    own = Observed(SPACE)
    with pytest.warns(Remark, match=r"Own-v0, Dict\(.*\), are flattened to 13 numbers"):
        env = flat(own, "Own-v0")
    about = describe(env, env_id="Own-v0")
    assert about.observation_names == [
        "goal[0]", "goal[1]", "cell=1", "cell=2", "cell=3", "bits[0]", "bits[1]",
        "pair[0][0]=0", "pair[0][0]=1", "pair[0][1]=0", "pair[0][1]=1", "pair[1][0,0]",
        "pair[1][0,1]",
    ]  # fmt: skip
    assert about.observation_high.tolist() == [1, 1, *9 * [1], 5, 5]
    env.reset(seed=0)
    observation = env.step(np.zeros(1))[0]
    named = dict(zip(about.observation_names, observation.tolist(), strict=True))
    assert [named["goal[0]"], named["goal[1]"]] == own.last["goal"].tolist()
    assert [k for k in (1, 2, 3) if named[f"cell={k}"]] == [own.last["cell"]]
    assert [named["bits[0]"], named["bits[1]"]] == own.last["bits"].tolist()
    first = own.last["pair"][0]
    assert all(named[f"pair[0][{i}]={first[i]}"] == 1 for i in range(2))
    assert [named["pair[1][0,0]"], named["pair[1][0,1]"]] == own.last["pair"][1][0].tolist()


@pytest.mark.filterwarnings("ignore::imagine_cli.errors.Remark")
def test_resets_and_steps_of_a_discrete_env_are_one_hot() -> None:
    with opened_env("FrozenLake-v1", {"is_slippery": False}) as (env, about):
        assert about.observation_names[:2] == ["x=0", "x=1"]
        assert about.observation_dtype == "float32"
        assert real_resets(env, 0, 0, 2).tolist() == 2 * [[1.0, *15 * [0.0]]]
        right = make_policy("constant:2", about, seed=0)
        taken = next(real_episode(env, about, right, seed=0, number=0))
        assert taken.next_observation.argmax() == 1


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Box(0, 255, (96, 96, 3), np.uint8), r"Box \(96, 96, 3\) = 27648 numbers, and imag"),
        (spaces.Box(-1.0, 1.0, (2001,)), r"Box \(2001,\) = 2001 numbers, and imagine works on vec"),
        (spaces.Dict(a=spaces.Box(0.0, 1.0, (64, 64))), r"Dict\(a Box \(64, 64\)\) = 4096 numbers"),
        (spaces.Sequence(spaces.Discrete(2)), "which has no fixed size"),
    ],
    ids=str,
)
def test_spaces_that_it_does_not_work_on(space: spaces.Space[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        flat(Observed(space), "Own-v0")


def test_a_vector_stays_as_it_is() -> None:
    env = make_env("Pendulum-v1")
    assert not isinstance(env, gymnasium.wrappers.FlattenObservation)
