from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imagine_cli.belief import Belief
from imagine_cli.errors import InputError
from imagine_cli.policies import MLPPolicy, RBFPolicy, save_policy
from imagine_cli.search.initial_policy import initial_policy
from tests.helpers.policy_envs import box_env, discrete_env

BELIEF = Belief(
    torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64),
    torch.diag(torch.tensor([0.04, 0.25, 0.0], dtype=torch.float64)).unsqueeze(0),
)


def test_centers_are_where_imagination_begins_and_where_it_gets_to() -> None:
    states = torch.tensor([[9.0, 9.0, 9.0]], dtype=torch.float64)
    policy = initial_policy("rbf:400", box_env(), BELIEF, states=states)
    assert isinstance(policy, RBFPolicy)
    own, other = policy.centers[::2].detach(), policy.centers[1::2].detach()
    assert (other == states).all()
    np.testing.assert_allclose(own.mean(0), BELIEF.mean[0], atol=0.15)
    np.testing.assert_allclose(own.std(0), [0.2, 0.5, 0.0], atol=0.1)
    assert 0.05 < float(policy.weights.detach().std()) < 0.2
    alone = initial_policy("rbf", box_env(), BELIEF)
    assert alone.centers.shape == (50, 3)
    np.testing.assert_allclose(alone.lengthscales.detach(), 3**0.5 * np.array([0.2, 0.5, 1.0]), 0.2)


def test_centers_are_all_over_an_observation_with_bounds() -> None:
    bounds = np.array([1.0, 1.0, 8.0])
    env = replace(box_env(), observation_low=-bounds, observation_high=bounds)
    states = torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64)
    policy = initial_policy("rbf:600", env, BELIEF, states=states)
    assert isinstance(policy, RBFPolicy)
    spread = policy.centers[2::3].detach()
    np.testing.assert_allclose(spread.mean(0), 0.0, atol=0.2 * bounds.max())
    np.testing.assert_allclose(spread.std(0), bounds / 3**0.5, rtol=0.15)
    assert (spread.abs() <= torch.from_numpy(bounds)).all()


@pytest.mark.parametrize("spec", ["linear", "rbf:5", "mlp", "mlp:3"])
def test_a_seed_repeats_it_and_a_restart_is_another(spec: str) -> None:
    made = [initial_policy(spec, box_env(), BELIEF, seed=4, restart=k) for k in (0, 0, 1)]
    first, again, other = (torch.cat([p.flatten() for p in one.parameters()]) for one in made)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    action = made[0](BELIEF).mean
    assert (action.abs() < 2.0).all()


def test_sizes_and_bounds_are_as_asked_for() -> None:
    policy = initial_policy("mlp:5,6", box_env([-1.0], [3.0]), BELIEF, dtype=torch.float32)
    assert isinstance(policy, MLPPolicy)
    assert policy.config()["hidden"] == [5, 6]
    assert policy.layers[0].weight.dtype == torch.float32
    unbounded = box_env([-np.inf], [np.inf])
    assert initial_policy("linear", unbounded, BELIEF).config()["squash"] == "none"


def test_a_file_is_gone_on_from(tmp_path: Path) -> None:
    first = initial_policy("rbf:3", box_env(), BELIEF)
    save_policy(first, tmp_path / "p.pt")
    again = initial_policy(str(tmp_path / "p.pt"), box_env(), BELIEF)
    assert torch.equal(first.centers, again.centers)
    assert again.centers.requires_grad


@pytest.mark.parametrize(
    ("spec", "env", "sentence"),
    [
        ("rbf", discrete_env(2), "are discrete, and gradients need continuous ones"),
        ("random", box_env(), "no policy 'random' to search for; use linear, rbf:50"),
        ("linear:2", box_env(), "no policy 'linear:2' to search for"),
        ("rbf:0", box_env(), "'0' is no size"),
        ("rbf:", box_env(), "'' is no size"),
        ("rbf:3,4", box_env(), "'3,4' is no size"),
        ("mlp:8,x", box_env(), "'8,x' is no size"),
        ("mlp", box_env([-np.inf], [np.inf]), "doesn't have any; use linear or rbf:50"),
        ("rbf", box_env([-1.0], [3.0]), r"are \[.*1.0.*\] to \[.*3.0.*\]; use mlp:64,64"),
        ("gone.pt", box_env(), "no policy 'gone.pt': there is no such file"),
    ],
)
def test_a_sentence_says_what_it_cant_be(spec: str, env: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        initial_policy(spec, env, BELIEF)  # type: ignore[arg-type]
