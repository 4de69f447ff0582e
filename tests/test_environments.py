from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from imagine_cli.environments import describe
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.fitting.collect import collect
from imagine_cli.policies import make_policy


class Acted(gymnasium.Env[np.ndarray, Any]):
    """An env that has an action space and does nothing."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.action_space = action_space


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([3]),
        spaces.MultiDiscrete([3, 2]),
        spaces.Box(-1.0, 1.0, (1,)),
        spaces.Box(-1.0, 1.0, (2,), dtype=np.float64),
    ],
    ids=str,
)
def test_an_action_comes_back_from_its_code(space: spaces.Space[Any]) -> None:
    description = describe(Acted(space))
    space.seed(0)
    for _ in range(10):
        action = space.sample()
        code = description.encode_action(action)
        assert code.shape == (description.action_size,)
        again = description.decode_action(code)
        assert type(again) is type(action) or isinstance(action, np.integer)
        assert np.allclose(again, action, rtol=1e-7)
        if not isinstance(space, spaces.Box):
            assert space.contains(again)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Discrete(3, start=1), "a Discrete action space must start at 0"),
        (
            spaces.MultiDiscrete([3, 3], start=[1, 1]),
            "a MultiDiscrete action space must start at 0",
        ),
        (spaces.Box(0, 3, (2,), dtype=np.int64), "has actions of int64; imagine works on real"),
        (spaces.MultiBinary(3), "imagine works on a flat Box, Discrete or MultiDiscrete"),
    ],
    ids=str,
)
def test_action_spaces_that_it_does_not_work_on(space: spaces.Space[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        describe(Acted(space))


def test_what_an_env_raises_is_a_sentence_about_the_env() -> None:
    class Broken(Acted):
        def step(self, action: Any) -> Any:
            raise ZeroDivisionError("motor on fire")

        def reset(self, **options: Any) -> Any:
            return np.zeros(2), {}

    env = Broken(spaces.Box(-1.0, 1.0, (1,)))
    policy = make_policy("zero", describe(env), seed=0)
    with pytest.raises(ImagineError, match="'Broken' failed with ZeroDivisionError: motor on fire"):
        collect(env, policy, steps=5)
