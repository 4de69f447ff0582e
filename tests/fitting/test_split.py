"""Who trains, who calibrates, who is held out; and points far from each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.errors import InputError
from imagine_cli.fitting import Transitions
from imagine_cli.fitting.split import check_fraction, farthest_points, scales, split


def _transitions(lengths: list[int]) -> Transitions:
    """Episodes of these lengths; the reward is the row's number."""
    n = sum(lengths)
    rows = np.arange(float(n))
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return Transitions(rows[:, None], rows[:, None], rows[:, None], rows, episode)


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40).filter(lambda x: sum(x) >= 50),
    fraction=st.floats(0.05, 0.4),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_parts_are_disjoint_complete_and_of_the_sizes_wanted(
    lengths: list[int], fraction: float, seed: int
) -> None:
    data = _transitions(lengths)
    parts = split(data, fraction, seed)
    rows = [part.rewards for part in (parts.training, parts.calibration, parts.held_out)]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), data.rewards)
    stretch = max(5, len(data) // 200, min(40, len(data) // 50))
    for part in (parts.calibration, parts.held_out):
        assert fraction * len(data) <= len(part) < fraction * len(data) + stretch
    assert len(parts.training) > 0
    np.testing.assert_array_equal(parts.held_out_rows, parts.held_out.rewards)


def test_neighbours_in_time_stay_together() -> None:
    data = _transitions([200] * 40)  # stretches of 40
    held = split(data, 0.2, 0).held_out
    assert len(held) == 1600
    runs = np.split(held.rewards, np.flatnonzero(np.diff(held.rewards) != 1) + 1)
    for run in runs:
        assert len(run) % 40 == 0
        assert run[0] % 40 == 0


@pytest.mark.parametrize("length", [200, 41, 79, 1000, 333])
def test_of_2000_steps_in_long_episodes_every_stretch_has_20(length: int) -> None:
    data = _transitions([length] * (2000 // length + 1))
    held = split(data, 0.2, 0).held_out
    gap = (np.diff(held.rewards) != 1) | (np.diff(held.episode) != 0)
    assert min(len(run) for run in np.split(held.rewards, np.flatnonzero(gap) + 1)) >= 20


def test_an_episode_that_is_short_enough_is_never_split() -> None:
    data = _transitions([20] * 200)  # stretches of at most 40
    parts = split(data, 0.2, 0)
    found = [set(part.episode) for part in (parts.training, parts.calibration, parts.held_out)]
    assert [len(episodes) for episodes in found] == [120, 40, 40]
    assert len(set.union(*found)) == 200


def test_the_seed_decides_the_split() -> None:
    data = _transitions([10] * 50)
    one, again, other = (split(data, 0.2, seed).held_out.rewards for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("fraction", "steps", "said"),
    [(0.0, 100, "more than 0"), (0.41, 100, "at most 0.4"), (float("nan"), 100, "not nan"),
     (0.1, 99, "fewer than 10"), (-0.1, 100, "not -0.1")],
)  # fmt: skip
def test_fractions_that_are_no_part_to_hold_out(fraction: float, steps: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_fraction(fraction, steps)


def test_scales_of_constant_columns_are_one() -> None:
    values = np.stack([np.full(7, 0.1), np.zeros(7), np.arange(7.0)], axis=1)
    np.testing.assert_allclose(scales(values), [1.0, 1.0, 2.0], rtol=1e-15)


def test_farthest_points_are_each_the_farthest_from_those_before() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 3)) * [1.0, 100.0, 1e-3]
    chosen = farthest_points(inputs, 25)
    assert len(set(chosen)) == 25
    standard = inputs / inputs.std(axis=0)
    distance = np.linalg.norm(standard[:, None] - standard[None], axis=-1)
    assert chosen[0] == np.linalg.norm(standard - standard.mean(axis=0), axis=1).argmax()
    for k in range(1, 25):
        assert chosen[k] == distance[:, chosen[:k]].min(axis=1).argmax()


def test_farthest_points_take_each_distinct_row_once_and_end() -> None:
    inputs = np.repeat([[0.0, 1.0], [2.0, 1.0], [5.0, 1.0]], 4, axis=0)
    assert sorted(inputs[farthest_points(inputs, 10), 0]) == [0.0, 2.0, 5.0]
    assert len(farthest_points(np.full((6, 2), 3.3), 4)) == 1
    assert len(farthest_points(inputs[::4], 10)) == 3
