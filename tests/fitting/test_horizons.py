"""Held-out scores several steps ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli import fit_world_model
from imagine_cli.fitting import Transitions, score
from imagine_cli.fitting.horizons import score_horizons, windows
from imagine_cli.fitting.one_step import scores_document
from imagine_cli.progress import Silent
from imagine_cli.world_models import EnsembleWorldModel, LinearGaussianWorldModel

A = np.array([[0.9, 0.2], [-0.1, 0.8]])
B = np.array([[0.5], [1.0]])
C = np.array([0.1, -0.2])
Q = np.array([[0.04, 0.012], [0.012, 0.09]])
REWARD = (np.array([0.3, -0.7, 0.2]), 0.05, 0.25)  # of x and u, constant, variance


def _model() -> LinearGaussianWorldModel:
    weights, offset, variance = REWARD
    return LinearGaussianWorldModel.from_parameters(
        A, B, C, Q, reward_weights=weights, reward_offset=offset, reward_variance=variance
    )


def _run(lengths: list[int], seed: int = 0) -> Transitions:
    """Episodes of the linear system, with rewards."""
    g = np.random.default_rng(seed)
    rows: list[list[Any]] = [[], [], [], []]
    for length in lengths:
        x = g.normal(size=2)
        for _ in range(length):
            u = g.uniform(-1, 1, size=1)
            following = A @ x + B @ u + C + g.multivariate_normal(np.zeros(2), Q)
            reward = REWARD[0] @ np.concatenate([x, u]) + REWARD[1] + 0.5 * g.normal()
            for column, value in zip(rows, (x, u, following, reward), strict=True):
                column.append(value)
            x = following
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return Transitions(*(np.array(column) for column in rows), episode=episode)


def _score(data: Transitions, rows: np.ndarray, model: Any = None) -> dict[str, Any]:
    return score_horizons(model or _model(), data, rows, {"rmse": [0.0]}, seed=0, progress=Silent())


def test_they_are_those_of_the_powers_of_a_linear_system() -> None:
    data = _run([60, 45])
    rows = np.concatenate([np.arange(0, 25), np.arange(40, 62), np.arange(70, 105)])
    found = _score(data, rows)
    assert found["propagation"] == "moments"
    assert found["left_out"] == []
    assert [entry["steps"] for entry in found["ahead"]] == [1, 5, 20]
    assert found["ahead"][0] == {"steps": 1, "rmse": [0.0]}
    # By hand: 20 + 5 | 20, and 2 of the next episode | 20 + 15 (of it 70 to 104).
    starts = {5: [0, 20, 40, 70, 90], 20: [0, 40, 70]}
    for entry in found["ahead"][1:]:
        steps = entry["steps"]
        means, var = [], np.zeros((2, 2))
        rewards = []
        for start in starts[steps]:
            x = data.observations[start]
            for k in range(steps):
                u = data.actions[start + k]
                mean_before = x
                x = A @ x + B @ u + C
            means.append(x)
            rewards.append(REWARD[0] @ np.concatenate([mean_before, u]) + REWARD[1])
        for _ in range(steps):
            before = var
            var = A @ var @ A.T + Q
        last = np.array(starts[steps]) + steps - 1
        expected = score(
            np.array(means), np.tile(np.diag(var), (len(last), 1)), data.next_observations[last]
        )
        assert entry["transitions"] == len(last)
        # 20 steps of rounding of numbers of order 1.
        np.testing.assert_allclose(entry["rmse"], expected.marginal["rmse"], rtol=1e-12)
        np.testing.assert_allclose(entry["nll"], expected.marginal["nll"], rtol=1e-12)
        np.testing.assert_array_equal(entry["coverage_95"], expected.marginal["coverage95"])
        weights = REWARD[0][:2]
        reward_var = weights @ before @ weights + REWARD[2]
        of_reward = score(
            np.array(rewards)[:, None],
            np.full((len(last), 1), reward_var),
            data.rewards[last][:, None],
        )
        wanted = scores_document(of_reward)["overall"]
        assert entry["reward"] == pytest.approx(wanted, rel=1e-12)


def test_a_true_model_covers_95_percent_at_every_horizon() -> None:
    data = _run([20] * 100)
    for entry in _score(data, np.arange(2000))["ahead"][1:]:
        assert entry["transitions"] == 100
        # Two dimensions, correlated: as if there were 100 to 200; 4 standard errors of 100.
        assert abs(entry["overall"]["coverage_95"] - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 100)


def test_horizons_that_no_stretch_reaches_are_left_out_and_named() -> None:
    data = _run([12] * 10)
    found = _score(data, np.arange(120))
    assert [entry["steps"] for entry in found["ahead"]] == [1, 5]
    assert found["left_out"] == ["no scores 20 steps ahead: no 20 steps in a row were held out"]
    found = _score(data, np.arange(0, 120, 2))
    assert [entry["steps"] for entry in found["ahead"]] == [1]
    assert len(found["left_out"]) == 2


def test_a_model_that_explodes_is_scored_as_far_as_it_goes() -> None:
    model = LinearGaussianWorldModel.from_parameters(1e30 * np.eye(2), B, C, Q)
    found = _score(_run([40]), np.arange(40), model)
    assert [entry["steps"] for entry in found["ahead"]] == [1, 5]
    assert np.isfinite(found["ahead"][1]["nll"]).all()
    assert found["left_out"] == ["no scores 20 steps ahead: the belief is not finite any more"]


def test_particles_are_drawn_by_the_seed() -> None:
    g = torch.Generator().manual_seed(0)
    model = EnsembleWorldModel.from_parameters(
        [0.1 * torch.randn(3, 3, 4, generator=g, dtype=torch.float64)],
        [torch.zeros(3, 4, dtype=torch.float64)],
        min_logvar=[-3.0, -3.0],
        max_logvar=[0.0, 0.0],
    )
    data = _run([30, 30])
    one, again, other = (
        score_horizons(model, data, np.arange(60), {}, seed=seed, progress=Silent())
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one["propagation"] == "particles(particles=100, members=fixed)"
    assert one["ahead"][1]["rmse"] != other["ahead"][1]["rmse"]


@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=12),
    longest=st.integers(1, 25),
    most=st.integers(1, 20),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_windows_are_disjoint_unbroken_and_the_longest_there_are(
    lengths: list[int], longest: int, most: int, data: st.DataObject
) -> None:
    episode = np.repeat(np.arange(len(lengths)), lengths)
    there = data.draw(st.lists(st.booleans(), min_size=len(episode), max_size=len(episode)))
    rows = np.flatnonzero(there)
    if not len(rows):
        return
    found = windows(episode, rows, longest, most)
    every = windows(episode, rows, longest, len(rows))
    assert every.length.sum() == len(rows)
    for some in (found, every):
        covered = [
            np.arange(start, start + length)
            for start, length in zip(some.start, some.length, strict=True)
        ]
        for window in covered:
            assert 1 <= len(window) <= longest
            assert set(window) <= set(rows)
            assert len(set(episode[window])) == 1
        assert len(np.unique(np.concatenate(covered))) == some.length.sum()
    assert len(found.length) == min(most, len(every.length))
    np.testing.assert_array_equal(
        np.sort(found.length)[::-1], np.sort(every.length)[::-1][: len(found.length)]
    )


def test_a_fit_of_2000_steps_looks_20_steps_ahead() -> None:
    fitted = fit_world_model("Pendulum-v1", kind="linear", steps=2000)
    scores = fitted.metadata["held_out_scores"]
    ahead = scores["horizons"]["ahead"]
    assert [entry["steps"] for entry in ahead] == [1, 5, 20]
    assert ahead[0]["rmse"] == scores["rmse"]
    assert ahead[2]["transitions"] >= 10
    first, fifth, twentieth = (entry["overall"]["rmse"] for entry in ahead)
    assert first < fifth < twentieth
