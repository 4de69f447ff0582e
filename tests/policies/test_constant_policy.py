from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies import make_policy
from imagine_cli.policies.constant import parse_action
from tests.helpers.acting import act
from tests.helpers.policy_envs import INF, box_env, discrete_env


def first_action(spec: str, env: EnvDescription) -> list[float]:
    policy = make_policy(spec, env, seed=0)
    policy.check(10**9, 10**9)
    action = act(policy, 5, point(torch.zeros(2, env.observation_size, dtype=torch.float64)))
    assert action.mean.shape == (2, env.action_size)
    assert action.mean.dtype == torch.float64
    assert action.var is None
    assert torch.equal(action.mean[0], action.mean[1])
    assert policy.name == spec
    return list(action.mean[0].tolist())


def test_zero() -> None:
    assert first_action("zero", box_env()) == [0.0]
    env = box_env(low=(1.0, -5.0, -INF), high=(2.0, -3.0, INF))
    assert first_action("zero", env) == [1.0, -3.0, 0.0]
    assert first_action("zero", discrete_env(3)) == [1.0, 0.0, 0.0]
    assert first_action("zero", discrete_env(2, 3)) == [1.0, 0.0, 1.0, 0.0, 0.0]
    with pytest.raises(InputError, match=r"'zero:1': zero takes nothing after it"):
        make_policy("zero:1", box_env(), seed=0)


def test_constant() -> None:
    assert first_action("constant:0.5", box_env()) == [0.5]
    assert first_action("constant: 1e-1 , -1", box_env((-1, -1), (1, 1))) == [0.1, -1.0]
    assert first_action("constant:1", discrete_env(3)) == [0.0, 1.0, 0.0]
    assert first_action("constant:1,2", discrete_env(2, 3)) == [0.0, 1.0, 0.0, 0.0, 1.0]


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6))
def test_numbers_come_back_to_the_bit(values: list[float]) -> None:
    env = box_env([-INF] * len(values), [INF] * len(values))
    assert parse_action(",".join(map(repr, values)), env).tolist() == values


@given(st.text(max_size=12), st.sampled_from([box_env(), box_env((-1, -1), (1, 1))]))
def test_any_text_gives_an_action_within_bounds_or_a_sentence(
    text: str, env: EnvDescription
) -> None:
    try:
        action = parse_action(text, env)
    except InputError as error:
        assert text in str(error)  # noqa: PT017
    else:
        assert [float(part) for part in text.split(",")] == pytest.approx(action.tolist())
        assert ((action >= env.action_low) & (action <= env.action_high)).all()


@given(st.floats(allow_nan=False), st.floats(-10, 10), st.floats(0, 10))
def test_out_of_bounds_is_out_of_bounds(value: float, low: float, width: float) -> None:
    assume(abs(value - low) > 1e-4)
    assume(abs(value - (low + width)) > 1e-4)
    env = box_env((low,), (low + width,))
    if low <= value <= low + width:
        assert parse_action(repr(value), env).tolist() == [value]
    else:
        with pytest.raises(InputError, match=r"outside the|not a finite"):
            parse_action(repr(value), env)


@given(st.integers(-5, 5), st.integers(1, 4))
def test_choices(number: int, n: int) -> None:
    env = discrete_env(n)
    if 0 <= number < n:
        assert np.flatnonzero(parse_action(str(number), env)).tolist() == [number]
    else:
        with pytest.raises(InputError, match=rf"integer 1 is {number}; .* takes 0 to {n - 1}"):
            parse_action(str(number), env)


def test_a_bound_kept_in_float32_is_not_exceeded_by_its_own_value() -> None:
    high = float(np.float32(0.7))
    assert high < 0.7
    assert parse_action("0.7", box_env((-high,), (high,))).tolist() == [high]
    with pytest.raises(InputError, match=r"number 1 is 0.701, outside the -0.7 to 0.7"):
        parse_action("0.701", box_env((-high,), (high,)))


@pytest.mark.parametrize(
    ("spec", "env", "sentence"),
    [
        ("constant", box_env(), r"'constant:' has 0 numbers; .* is 1 number, with commas"),
        ("constant:", box_env(), r"has 0 numbers"),
        ("constant:1,2", box_env(), r"has 2 numbers; an action of env 'Test-v0' is 1 number"),
        ("constant:1", box_env((-1, -1), (1, 1)), r"has 1 number; .* is 2 numbers"),
        ("constant:3", box_env(), r"number 1 is 3, outside the -2 to 2 of env 'Test-v0'"),
        ("constant:1,-3", box_env((-1, -1), (1, 1)), r"number 2 is -3, outside the -1 to 1"),
        ("constant:left", box_env(), r"'left' is not a finite number"),
        ("constant:nan", box_env(), r"'nan' is not a finite number"),
        ("constant:inf", box_env((-INF,), (INF,)), r"'inf' is not a finite number"),
        ("constant:1_0", box_env((-INF,), (INF,)), r"'1_0' is not a finite number"),
        ("constant:1,", box_env((-1, -1), (1, 1)), r"'' is not a finite number"),
        ("constant:1e999", box_env((-INF,), (INF,)), r"'1e999' is not a finite number"),
        ("constant:0.5", discrete_env(2), r"'0.5' is not an integer; .* discrete"),
        ("constant:1.0", discrete_env(2), r"'1.0' is not an integer"),
        ("constant:2", discrete_env(2), r"integer 1 is 2; env 'Test-v0' takes 0 to 1"),
        ("constant:0,3", discrete_env(2, 3), r"integer 2 is 3; .* 0 to 2"),
        ("constant:0", discrete_env(2, 3), r"has 1 integer; .* is 2 integers"),
    ],
)
def test_sentences(spec: str, env: EnvDescription, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_policy(spec, env, seed=0)


def test_bounds_are_never_nan() -> None:
    assert not math.isnan(parse_action("1e308", box_env((-INF,), (INF,)))[0])
