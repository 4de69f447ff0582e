from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import InputError, load_world_model
from imagine_cli.belief import ActionBelief, point
from imagine_cli.checkpoint import save_world_model
from imagine_cli.world_models import EnsembleWorldModel
from tests.helpers.ensembles import numpy_network, random_ensemble


def points(count: int, size: int, seed: int = 1) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_a_member_is_its_network(reward: bool, weights: torch.dtype) -> None:
    model = random_ensemble(3, 2, elites=[4, 1, 2], reward=reward, weights=weights)
    assert model.members == 3
    x, u = points(70, 3), points(70, 2, seed=2)
    member = torch.arange(70) % 7 % 3  # not evenly
    at = model.conditional(x.view(7, 10, 3), u.view(7, 10, 2), member.view(7, 10))
    tolerance = {"rtol": 1e-12} if weights == torch.float64 else {"rtol": 2e-5, "atol": 2e-6}
    for k, index in enumerate([4, 1, 2]):
        rows = member == k
        mean, var = numpy_network(model, index, np.concatenate([x, u], axis=1)[rows])
        next_mean = x[rows].numpy() + mean[:, :3]
        np.testing.assert_allclose(at.mean.view(70, 3)[rows], next_mean, **tolerance)
        np.testing.assert_allclose(at.var.view(70, 3)[rows], var[:, :3], **tolerance)
        if reward:
            assert at.reward_mean is not None
            assert at.reward_var is not None
            np.testing.assert_allclose(at.reward_mean.view(70)[rows], mean[:, 3], **tolerance)
            np.testing.assert_allclose(at.reward_var.view(70)[rows], var[:, 3], **tolerance)


def test_all_together_they_are_a_mixture_of_the_elites() -> None:
    model = random_ensemble(3, 2, elites=[0, 3], reward=True)
    x, u = points(40, 3), points(40, 2, seed=2)
    at = model.conditional(x, u)
    both = [numpy_network(model, k, np.concatenate([x, u], axis=1)) for k in (0, 3)]
    mean = (both[0][0] + both[1][0]) / 2
    var = (both[0][1] + both[1][1]) / 2 + np.square(both[0][0] - both[1][0]) / 4
    np.testing.assert_allclose(at.mean, x + mean[:, :3], rtol=1e-12)
    np.testing.assert_allclose(at.var, var[:, :3], rtol=1e-12)
    np.testing.assert_allclose(at.reward_mean, mean[:, 3], rtol=1e-12)
    np.testing.assert_allclose(at.reward_var, var[:, 3], rtol=1e-12)
    # and at a point that is what a step without particles gives
    prediction = model.predict(point(x), ActionBelief(u))
    torch.testing.assert_close(prediction.mean, at.mean, rtol=1e-14, atol=0.0)
    torch.testing.assert_close(prediction.var, at.covariance, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (17, 6)])
def test_a_points_bits_do_not_depend_on_the_points_beside_it(
    weights: torch.dtype, sizes: tuple[int, int]
) -> None:
    model = random_ensemble(*sizes, hidden=(50, 33), weights=weights, reward=True)
    x, u = points(300, sizes[0]), points(300, sizes[1], seed=2)
    member = torch.randint(5, (300,), generator=torch.manual_seed(0))
    for who in (None, member):
        together = model.conditional(x, u, who)
        for rows in (slice(0, 1), slice(13, 20), slice(31, 164), slice(299, 300)):
            alone = model.conditional(x[rows], u[rows], None if who is None else who[rows])
            for a, b in zip(alone, together, strict=True):
                assert a is not None
                assert b is not None
                assert torch.equal(a, b[rows])


def test_it_is_differentiable() -> None:
    model = random_ensemble(2, 1, reward=True)
    inputs = [points(5, 2).requires_grad_(), points(5, 1).requires_grad_()]
    for member in (None, torch.tensor([0, 1, 1, 4, 2])):
        assert torch.autograd.gradcheck(
            lambda x, u, who=member: tuple(model.conditional(x, u, who)), inputs
        )


@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "tanh"])
def test_a_checkpoint_makes_it_again(activation: str, tmp_path: Path) -> None:
    model = random_ensemble(
        3, 1, elites=[1, 2], reward=True, weights=torch.float32, activation=activation
    )
    path = tmp_path / "wm.pt"
    save_world_model(model, path)
    again = load_world_model(path)
    assert again.has_reward
    x, u = points(9, 3), points(9, 1)
    for a, b in zip(model.conditional(x, u), again.conditional(x, u), strict=True):
        assert torch.equal(a, b)
    assert again.describe() == {
        "members": 5, "elites": [1, 2], "hidden units": [16, 24], "activation": activation,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"weight1": torch.zeros(5, 16, 23)}, "don't fit together .bias1, weight2"),
        ({"weight0": torch.zeros(5, 16)}, r"must be \(M, in, out\)"),
        ({"bias0": None}, "needs .* in its state_dict"),
        ({"min_logvar": torch.full((3,), torch.nan)}, "min_logvar .* not finite"),
        ({"max_logvar": torch.zeros(3).double()}, "max_logvar of an ensemble is torch.float64"),
        ({"input_scale": torch.zeros(4)}, "input_scale .* positive"),
        ({"elites": torch.tensor([0, 5])}, "not all among its 5 members"),
        ({"elites": torch.tensor([0, 0])}, "different whole numbers"),
        ({"elites": torch.tensor([], dtype=torch.int64)}, "different whole numbers"),
        ({"elites": torch.tensor([0.0])}, "different whole numbers"),
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    model = random_ensemble(3, 1, weights=torch.float32)
    state = {**model.state_dict(), **wrong}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(InputError, match=sentence):
        EnsembleWorldModel.from_config(model.config(), state)
    with pytest.raises(InputError, match="in its config"):
        EnsembleWorldModel.from_config({**model.config(), "activation": "x"}, model.state_dict())


def test_each_network_may_have_bounds_of_its_own() -> None:
    """As mbrl-lib's BasicEnsemble learns them: each is as in an ensemble with those alone."""
    model = random_ensemble(3, 1, elites=[4, 1, 2], reward=True)
    low = torch.stack([model.min_logvar - 0.3 * k for k in range(5)])
    high = torch.stack([model.max_logvar + 0.2 * k for k in range(5)])
    state = {**model.state_dict(), "min_logvar": low, "max_logvar": high}
    own = EnsembleWorldModel.from_config(model.config(), state)
    x, u = points(20, 3), points(20, 1, seed=2)
    for k, network in enumerate([4, 1, 2]):
        rows = {"min_logvar": low[network], "max_logvar": high[network]}
        shared = EnsembleWorldModel.from_config(model.config(), {**state, **rows})
        member = torch.full((20,), k)
        for a, b in zip(
            own.conditional(x, u, member), shared.conditional(x, u, member), strict=True
        ):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b)
    assert not torch.equal(own.conditional(x, u).var, model.conditional(x, u).var)
    with pytest.raises(InputError, match="don't fit together"):
        EnsembleWorldModel.from_config(model.config(), {**state, "min_logvar": low[:4]})
    with pytest.raises(InputError, match="don't fit together"):
        EnsembleWorldModel.from_config(model.config(), {**state, "min_logvar": low[0]})
