from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies import make_policy
from imagine_cli.policies.blocks import BLOCK
from tests.helpers.acting import act, actions_of
from tests.helpers.policy_envs import INF, box_env, discrete_env

MIXED = box_env(low=(-2.0, -INF, 0.5, -INF), high=(1.0, INF, INF, 3.0))
ENVS = [box_env(), MIXED, discrete_env(2), discrete_env(3, 2, 4)]


def actions(env: EnvDescription, steps: range, first: int, count: int, seed: int = 7) -> np.ndarray:
    policy = make_policy("random", env, seed=seed)
    return actions_of(policy, steps, first, count, env.observation_size).numpy()


@pytest.mark.parametrize("env", ENVS, ids=["box", "mixed", "discrete", "multi"])
def test_an_action_depends_on_seed_trajectory_and_step_alone(env: EnvDescription) -> None:
    steps = 2 * BLOCK + 3
    whole = actions(env, range(steps), 0, 6)

    @settings(max_examples=25, deadline=None)
    @given(first=st.integers(0, 5), count=st.integers(1, 6), step=st.integers(0, steps - 1))
    def check(first: int, count: int, step: int) -> None:
        count = min(count, 6 - first)
        alone = actions(env, range(step, step + 1), first, count)
        np.testing.assert_array_equal(alone[:, 0], whole[first : first + count, step])

    check()
    np.testing.assert_array_equal(actions(env, range(steps - 1, -1, -1), 0, 6)[:, ::-1], whole)


def test_the_streams_are_those_of_numpys_philox() -> None:
    got = actions(box_env(low=(-1.0, 0.0), high=(1.0, 4.0)), range(3 * BLOCK), 5, 2, seed=11)
    for row, trajectory in enumerate((5, 6)):
        bits = np.random.Philox(np.random.SeedSequence(entropy=11, spawn_key=(1, trajectory)))
        for block in range(3):
            u = np.random.Generator(bits.jumped(block)).random((BLOCK, 2))
            piece = got[row, block * BLOCK : (block + 1) * BLOCK]
            np.testing.assert_allclose(piece, np.array([-1.0, 0.0]) + u * [2.0, 4.0], atol=1e-15)


def test_seeds_trajectories_and_steps_differ() -> None:
    env = box_env()
    drawn = np.concatenate([actions(env, range(200), 0, 20, seed=s).ravel() for s in (0, 1, 2)])
    assert len(np.unique(drawn)) == drawn.size


def test_a_box_is_sampled_as_gymnasium_samples_it() -> None:
    mine = actions(MIXED, range(400), 0, 25).reshape(-1, 4)
    space = gymnasium.spaces.Box(MIXED.action_low, MIXED.action_high, dtype=np.float64, seed=3)
    theirs = np.array([space.sample() for _ in range(len(mine))])
    assert all(space.contains(action) for action in mine)
    for k in range(4):
        assert scipy.stats.ks_2samp(mine[:, k], theirs[:, k]).pvalue > 0.01
    exact = [
        scipy.stats.uniform(-2.0, 3.0).cdf,
        scipy.stats.norm().cdf,
        scipy.stats.expon(0.5).cdf,
        lambda x: scipy.stats.expon().sf(3.0 - x),
    ]
    for k, cdf in enumerate(exact):
        assert scipy.stats.kstest(mine[:, k], cdf).pvalue > 0.01
    correlation = np.corrcoef(np.stack([mine[:-1, 0], mine[1:, 0], *mine[:-1, 1:].T]))
    assert np.abs(correlation - np.eye(5)).max() < 4.5 / np.sqrt(len(mine))


def test_choices_are_uniform_and_one_hot() -> None:
    drawn = actions(discrete_env(3, 2), range(300), 0, 20).reshape(-1, 5)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn[:, :3].sum(1), 1.0)
    np.testing.assert_array_equal(drawn[:, 3:].sum(1), 1.0)
    pairs = (drawn[:, :3, None] * drawn[:, None, 3:]).sum(0).ravel()
    assert scipy.stats.chisquare(pairs).pvalue > 0.01


def test_the_widest_bounds_do_not_overflow() -> None:
    limit = float(np.finfo(np.float64).max)
    drawn = actions(box_env(low=(-limit,), high=(limit,)), range(100), 0, 1)
    assert np.isfinite(drawn).all()
    assert (drawn > 0).any()
    assert (drawn < 0).any()


def test_actions_come_in_the_beliefs_dtype() -> None:
    policy = make_policy("random", box_env(), seed=0, dtype=torch.float32)
    assert act(policy, 0, point(torch.zeros(2, 3))).mean.dtype == torch.float32
    action = act(policy, 1, point(torch.zeros(2, 3, dtype=torch.float64)))
    assert action.mean.dtype == torch.float64
    assert action.var is None
    assert not policy.gives_variance


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"'random:3': random takes nothing after it"):
        make_policy("random:3", box_env(), seed=0)
    with pytest.raises(InputError, match=r"the seed is -1; it must be 0 or more"):
        make_policy("random", box_env(), seed=-1)
