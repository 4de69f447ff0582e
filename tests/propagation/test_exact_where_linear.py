"""Every propagation against the closed form of a linear-Gaussian system."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TorchNoise, TrajectoryNoise
from imagine_cli.propagation.unscented import Unscented
from tests.helpers.linear_systems import belief_in, linear_model, numpy_step

SIZES = [(1, 1), (3, 2), (11, 3)]
EXACT: dict[str, Any] = {
    "moments": "moments",
    "linearized": "linearized",
    "unscented": "unscented",
    "unscented, scaled": Unscented(alpha=0.5, beta=2.0, kappa=1.0),
}
NO_NOISE = TorchNoise((2,), torch.float64)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("asked", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("what", ["full", "singular", "certain", "certain action"])
def test_those_that_should_be_exact_are(asked: Any, sizes: tuple[int, int], what: str) -> None:
    model = linear_model(*sizes)
    rank = {"singular": sizes[0] - 1, "certain": 0}.get(what)
    belief, action = belief_in(*sizes, seed=1, rank=rank, policy=what != "certain action")
    if what == "certain":
        action = ActionBelief(action.mean)
    prediction, state = make_propagation(asked, model).step(model, belief, action, {}, NO_NOISE)
    assert state == {}
    for found, wanted in zip(prediction[:4], numpy_step(model, belief, action), strict=True):
        assert found is not None
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0.0, atol=1e-10 * scale)
    assert torch.equal(prediction.var, prediction.var.mT)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("resample", [False, True])
def test_particles_are_within_four_standard_errors(sizes: tuple[int, int], resample: bool) -> None:
    count, steps = 20_000, 3
    model = linear_model(*sizes)
    exact, first = belief_in(*sizes, seed=2, batch=1)
    assert first.var is not None
    assert first.cross_covariance is not None
    gain = 0.3 * first.cross_covariance
    action_noise = torch.eye(sizes[1], dtype=torch.float64)
    way = make_propagation("particles", model, particles=count, resample=resample)
    noise = TrajectoryNoise(0, 0, 1, torch.float64)
    state = way.begin(model, exact, noise)
    for _ in range(steps):
        # The policy sees the exact belief, so that nothing but the sampling of a step differs.
        action = ActionBelief(first.mean, gain.mT @ exact.var @ gain + action_noise, gain)
        prediction, state = way.step(model, exact, action, state, noise)
        assert state["particles"].shape == (1, count, sizes[0])
        mean, var, reward, reward_var = numpy_step(model, exact, action)
        variances = np.diagonal(var, axis1=-2, axis2=-1)
        assert (np.abs(prediction.mean.numpy() - mean) < 4 * np.sqrt(variances / count)).all()
        # var[s_ij] = (σ_ii σ_jj + σ_ij²) / (P - 1) for Gaussian particles
        products = variances[..., :, None] * variances[..., None, :]
        deviation = np.sqrt((products + var**2) / (count - 1))
        assert (np.abs(prediction.var.numpy() - var) < 4 * deviation).all()
        assert prediction.reward_mean is not None
        assert prediction.reward_var is not None
        assert abs(float(prediction.reward_mean) - reward) < 4 * np.sqrt(reward_var / count)
        assert abs(float(prediction.reward_var) / reward_var - 1) < 4 * np.sqrt(2 / count)
        exact = Belief(torch.tensor(mean), torch.tensor(var))


@pytest.mark.parametrize("name", ["linearized", "unscented", "particles"])
def test_they_are_differentiable_in_belief_and_action(name: str) -> None:
    model = linear_model(3, 2)
    belief, action = belief_in(3, 2, seed=3)
    assert action.var is not None
    assert action.cross_covariance is not None
    parameters = {"particles": 5} if name == "particles" else {}
    way = make_propagation(name, model, **parameters)

    def step(mean: Any, root: Any, u: Any, u_root: Any, gain: Any) -> Any:
        given = Belief(mean, root @ root.mT)
        u_var = gain.mT @ given.var @ gain + u_root @ u_root.mT
        noise = TrajectoryNoise(0, 0, 2, torch.float64)
        state = way.begin(model, given, noise)
        return tuple(way.step(model, given, ActionBelief(u, u_var, gain), state, noise)[0][:4])

    root = torch.linalg.cholesky(belief.var)
    u_root = torch.eye(2, dtype=torch.float64).expand(2, 2, 2).clone()
    inputs = [belief.mean, root, action.mean, u_root, action.cross_covariance]
    assert torch.autograd.gradcheck(step, [x.clone().requires_grad_() for x in inputs])
