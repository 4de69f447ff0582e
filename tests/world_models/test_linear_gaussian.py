from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import InputError, load_world_model
from imagine_cli.belief import ActionBelief
from imagine_cli.checkpoint import save_world_model
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.linear_systems import belief_in, linear_model, numpy_step


def test_at_a_point_it_is_the_formula() -> None:
    model = linear_model(3, 2)
    belief, action = belief_in(3, 2, 0, batch=5, rank=0, policy=False)
    at = model.conditional(belief.mean, action.mean)
    mean, var, reward, reward_var = numpy_step(model, belief, action)
    np.testing.assert_allclose(at.mean, mean, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(at.covariance.expand(5, 3, 3), var, rtol=1e-14)
    np.testing.assert_allclose(at.reward_mean, reward, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(at.reward_var, reward_var, rtol=1e-14)


@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_checkpoint_makes_it_again(reward: bool, dtype: torch.dtype, tmp_path: Path) -> None:
    model = linear_model(3, 2, reward=reward, dtype=dtype)
    assert model.has_reward == reward
    path = tmp_path / "wm.pt"
    save_world_model(model, path)
    again = load_world_model(path)
    belief, action = belief_in(3, 2, 1)
    for a, b in zip(model.predict(belief, action), again.predict(belief, action), strict=True):
        assert (a is None) == (b is None)
        assert a is None or (torch.equal(a, b) and a.dtype == dtype)
    assert again.describe() == model.describe()


def test_gradients_flow_through_the_closed_form() -> None:
    model = linear_model(2, 1)
    belief, action = belief_in(2, 1, 0)
    inputs = [x.clone().requires_grad_() for x in (belief.mean, action.mean)]
    assert torch.autograd.gradcheck(
        lambda x, u: tuple(model.predict(belief._replace(mean=x), ActionBelief(u))), inputs
    )


GOOD: dict[str, Any] = {
    "transition": np.eye(2), "control": np.ones((2, 1)), "offset": np.zeros(2),
    "noise_covariance": np.eye(2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"transition": np.eye(3)}, r"transition .* wrong shape, not \(2, 2\)"),
        ({"control": np.ones(2)}, "needs a control matrix"),
        ({"offset": np.array([0.0, np.nan])}, "offset .* not finite"),
        ({"noise_covariance": np.array([[1.0, 2.0], [2.0, 1.0]])}, "is not a covariance"),
        ({"noise_covariance": np.array([[1.0, 0.1], [0.0, 1.0]])}, "is not a covariance"),
        ({"reward_weights": np.ones(2)}, r"reward_weights .* wrong shape, not \(3,\)"),
        ({"reward_weights": np.ones(3), "reward_variance": -1.0}, "reward_variance .* negative"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    LinearGaussianWorldModel.from_parameters(**GOOD)
    with pytest.raises(InputError, match=sentence):
        LinearGaussianWorldModel.from_parameters(**{**GOOD, **wrong})


def test_a_state_of_another_model_is_refused() -> None:
    state = {key: torch.as_tensor(value) for key, value in GOOD.items()}
    LinearGaussianWorldModel.from_config({"dtype": "float64"}, state)
    with pytest.raises(InputError, match="in its state_dict, and there is offset"):
        LinearGaussianWorldModel.from_config({"dtype": "float64"}, {"offset": state["offset"]})
    with pytest.raises(InputError, match="needs dtype"):
        LinearGaussianWorldModel.from_config({"dtype": "int8"}, state)
