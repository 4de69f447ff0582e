"""The error that persists, found again in data that have one, and not in data that have none."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_cli.fitting.model_error import fit_model_error
from imagine_cli.progress import Silent
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.linear_systems import linear_model


def simulated(
    model: LinearGaussianWorldModel, share: float, persistence: float, seed: int
) -> Transitions:
    """Episodes of 50 steps of the model, with such an error."""
    g = np.random.default_rng(seed)
    a, b, c = (part.numpy() for part in (model.transition, model.control, model.offset))
    noise = model.noise_covariance.numpy()
    size, actions, episodes, steps = *b.shape, 100, 50
    root = np.linalg.cholesky(noise)
    scale = np.sqrt(share * noise.diagonal())
    x, z = g.normal(size=(episodes, size)), g.normal(size=(episodes, size))
    before, acted, after = [], [], []
    for _ in range(steps):
        u = g.normal(size=(episodes, actions))
        fresh = np.sqrt(1 - share) * g.normal(size=(episodes, size)) @ root.T
        later = x @ a.T + u @ b.T + c + scale * z + fresh
        z = persistence * z + np.sqrt(1 - persistence**2) * g.normal(size=z.shape)
        before.append(x)
        acted.append(u)
        after.append(later)
        x = later
    rows = [np.stack(part, axis=1).reshape(episodes * steps, -1) for part in (before, acted, after)]
    return Transitions(
        *rows, rewards=np.zeros(len(rows[0])), episode=np.repeat(np.arange(episodes), steps)
    )


def diagonal_model() -> LinearGaussianWorldModel:
    model = linear_model(3, 1, reward=False)
    return LinearGaussianWorldModel.from_parameters(
        model.transition, model.control, model.offset, np.diag([0.01, 0.04, 0.02])
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_is_found_again(seed: int) -> None:
    model = diagonal_model()
    data = simulated(model, 0.6, 0.85, seed)
    error, summary = fit_model_error(model, data, np.arange(len(data)), Silent())
    assert error is not None
    # 200 stretches of 25 steps, correlated along each: so much is how far off 30 seeds are.
    assert error.persistence.item() == pytest.approx(0.85, abs=0.07)
    assert np.allclose(error.share, 0.6, atol=0.17)
    assert np.allclose(error.correlation, np.eye(3), atol=0.3)
    gained = np.subtract(summary["nll_without"], summary["nll_with"])
    assert gained[0] == pytest.approx(0.0, abs=1e-9)  # one step ahead nothing changes
    assert (gained[1:] > 0.02).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_has_none(seed: int) -> None:
    model = diagonal_model()
    data = simulated(model, 0.0, 0.0, seed)
    error, summary = fit_model_error(model, data, np.arange(len(data)), Silent())
    assert error is None
    assert summary["gain"] < 0.01


def test_too_few_stretches_have_none() -> None:
    model = diagonal_model()
    data = simulated(model, 0.6, 0.85, 0)
    error, summary = fit_model_error(model, data, np.arange(60), Silent())
    assert (error, summary) == (None, {"stretches": 3})
