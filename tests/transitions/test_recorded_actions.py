"""Recorded actions -> the numbers that world models take."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.transitions.actions import encode
from tests.helpers.worlds import MultiDiscreteEnv


def _place(row: int) -> str:
    return f"row {row}"


@pytest.fixture
def multi() -> EnvDescription:
    return describe(MultiDiscreteEnv())


def test_multi_discrete_numbers_and_codes(multi: EnvDescription) -> None:
    numbers = np.array([[1, 2], [0, 0], [1, 0], [1, 2]])
    codes = np.array([[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 1]])
    np.testing.assert_array_equal(encode(numbers, multi, _place), codes)
    np.testing.assert_array_equal(encode(codes, multi, _place), codes)
    np.testing.assert_array_equal(encode(numbers.astype(np.float32), multi, _place), codes)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([[0, 0], [1, 3]], "the action 1, 3 at row 1 is none of MultiDiscreteEnv"),
        ([[0, 0.5]], "the action 0, 0.5 at row 0 is none"),
        ([[-1, 0]], "counted from 0"),
        ([[1, 0, 1, 0, 0], [1, 1, 0, 0, 1]], "1, 1, 0, 0, 1 at row 1 is no one-hot code"),
        ([[0, 1, 0.5, 0.5, 0]], "no one-hot code of MultiDiscreteEnv's 2 and 3 choices"),
        ([[0, 1, 0]], "an action of MultiDiscreteEnv is 2 of 2 and 3 choices, or its code of 5"),
        ([[0, np.nan]], "the action at row 0 is not finite"),
    ],
)
def test_what_is_no_such_action(
    actions: list[list[float]], said: str, multi: EnvDescription
) -> None:
    with pytest.raises(InputError) as raised:
        encode(np.array(actions), multi, _place)
    assert said in str(raised.value)


def test_continuous_ones_stay_as_they_are() -> None:
    about = describe(make_env("Pendulum-v1"))
    flat = np.array([0.5, -2.0, 1.0], dtype=np.float32)
    np.testing.assert_array_equal(encode(flat, about, _place), flat[:, None])
    np.testing.assert_array_equal(encode(flat[:, None], about, _place), flat[:, None])
    assert encode(flat, about, _place).dtype == np.float64
