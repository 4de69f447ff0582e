"""torchrl's GPWorldModel: the same numbers as ours, and its state dict as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.checkpoint import convert_world_model, load_world_model
from imagine_cli.errors import InputError
from imagine_cli.world_models import GaussianProcessWorldModel
from tests.helpers.gp_models import random_model, stacked

pytest.importorskip("gpytorch")
pytest.importorskip("botorch")
models = pytest.importorskip("torchrl.modules.models.gp")

# torchrl adds 1e-8 to every variance, by way of a float32 identity matrix.
JITTER = float(torch.tensor(1e-8, dtype=torch.float32))


def theirs_like(model: GaussianProcessWorldModel) -> Any:
    """A torchrl GPWorldModel with our hyperparameters, and factors of its own arithmetic."""
    theirs = models.GPWorldModel(model.observation_size, model.action_size)
    theirs.X_tilde_train = model.inputs
    theirs.ell = model.lengthscales
    theirs.alpha_sq = model.signal_variances.unsqueeze(-1)
    theirs.sigma_sq_eps = model.noise_variances
    scaled = model.inputs / model.lengthscales.unsqueeze(1)
    distance = (scaled.unsqueeze(-2) - scaled.unsqueeze(-3)).square().sum(-1)
    gram = model.signal_variances[:, None, None] * torch.exp(-0.5 * distance)
    gram = gram + torch.diag_embed(
        (model.noise_variances + model.jitter).unsqueeze(-1).expand(-1, len(model.inputs))
    )
    theirs._cached_inv_K_noisy = torch.linalg.inv(gram)
    theirs._cached_beta = torch.linalg.solve(gram, model.targets.mT)
    return theirs


def their_prediction(theirs: Any, belief: Belief, action: ActionBelief) -> tuple[Tensor, Tensor]:
    given = TensorDict(
        {"observation": belief._asdict(), "action": action._asdict()}, belief.mean.shape[:-1]
    )
    with torch.no_grad():
        found = theirs.uncertain_forward(given)
    mean, var = found["next", "observation", "mean"], found["next", "observation", "var"]
    return mean, var - JITTER * torch.eye(var.shape[-1], dtype=torch.float64)


@pytest.mark.parametrize(("outputs", "actions", "n"), [(1, 1, 5), (2, 1, 30), (4, 2, 25)])
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
def test_same_hyperparameters_same_moments(outputs: int, actions: int, n: int, size: float) -> None:
    model = random_model(n, outputs, actions, n, units=False, noise=(1e-2, 1e-1))
    belief, action = stacked(model, 4, size)
    mean, var = their_prediction(theirs_like(model), belief, action)
    found = model.predict(belief, action)
    deviation = found.var.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((found.mean - mean).abs() < 1e-10 * (deviation + found.mean.abs())).all()
    scale = deviation.unsqueeze(-1) * deviation.unsqueeze(-2)
    assert ((found.var - var).abs() < 1e-10 * scale).all()


@pytest.fixture(scope="module")
def fitted() -> Any:
    """Fitted by torchrl itself to 30 noisy transitions, in float64."""
    g = torch.Generator().manual_seed(0)
    observation = 2.0 * torch.rand(30, 2, generator=g, dtype=torch.float64) - 1.0
    action = 2.0 * torch.rand(30, 1, generator=g, dtype=torch.float64) - 1.0
    change = torch.stack([0.1 * observation[:, 1], torch.sin(observation[:, 0]) + action[:, 0]], -1)
    noise = 0.02 * torch.randn(30, 2, generator=g, dtype=torch.float64)
    model = models.GPWorldModel(2, 1)
    model.fit(
        TensorDict(
            {
                "observation": observation,
                "action": action,
                ("next", "observation"): observation + change + noise,
            },
            [30],
        )
    )
    return model


@pytest.mark.filterwarnings("ignore")
def test_a_fitted_model_is_read_from_its_state_dict(fitted: Any, tmp_path: Path) -> None:
    path = tmp_path / "wm.pt"
    torch.save(fitted.state_dict(), path)
    model = load_world_model(path)
    assert isinstance(model, GaussianProcessWorldModel)
    assert (model.observation_size, model.action_size, model.dtype) == (2, 1, torch.float64)
    assert (model.process_noise, model.jitter) == (True, 1e-6)
    torch.testing.assert_close(
        model.constants.beta[:, :30], fitted._cached_beta, rtol=1e-9, atol=1e-9
    )
    belief, action = stacked(model, 5, 0.1)
    mean, var = their_prediction(fitted, belief, action)
    found = model.predict(belief, action)
    deviation = found.var.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((found.mean - mean).abs() < 1e-10 * (deviation + found.mean.abs())).all()
    scale = deviation.unsqueeze(-1) * deviation.unsqueeze(-2)
    assert ((found.var - var).abs() < 1e-9 * scale).all()


@pytest.mark.filterwarnings("ignore")
def test_a_fitted_model_is_converted_to_the_bit(fitted: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "theirs.pt", tmp_path / "wm.pt"
    torch.save(fitted.state_dict(), source)
    convert_world_model(source, output)
    model = load_world_model(source)
    belief, action = stacked(model, 5, 0.1)
    one, other = model.predict(belief, action), load_world_model(output).predict(belief, action)
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.var, other.var)


@pytest.mark.filterwarnings("ignore")
def test_a_float32_state_dict_gives_float32_beliefs(fitted: Any, tmp_path: Path) -> None:
    path = tmp_path / "wm.pt"
    torch.save({name: value.float() for name, value in fitted.state_dict().items()}, path)
    model = load_world_model(path)
    assert model.dtype == torch.float32
    belief, action = stacked(model, 5, 0.1)
    mean, var = their_prediction(fitted, belief, action)
    found = model.predict(belief, action)
    assert found.mean.dtype == torch.float32
    assert (found.mean - mean).abs().max() < 1e-4
    assert (found.var - var).abs().max() < 1e-4


def test_a_model_that_was_never_fitted(tmp_path: Path) -> None:
    path = tmp_path / "wm.pt"
    torch.save(models.GPWorldModel(2, 1).state_dict(), path)
    with pytest.raises(InputError, match=r"wm\.pt.*never fitted.*call its fit first"):
        load_world_model(path)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("X_tilde_train", torch.zeros(5, 4), "don't fit together"),
        ("X_tilde_train", torch.zeros(6, 3), "don't fit together"),
        ("ell", torch.ones(3), "don't fit together"),
        ("ell", torch.tensor(1.0), "don't fit together"),
        ("ell", torch.ones(3, 3), "don't fit together"),
        ("ell", torch.full((2, 3), torch.nan), "not finite, in ell"),
        ("ell", torch.zeros(2, 3), "nan|positive"),
        ("_cached_beta", torch.zeros(5, 2), "don't fit together"),
        ("_cached_beta", torch.full((2, 5), torch.inf), "not finite, in _cached_beta"),
        ("_cached_beta", "nothing", "never fitted"),
        ("alpha_sq", torch.ones(3, 1), "don't fit together"),
        ("alpha_sq", -torch.ones(2, 1), "positive"),
        ("sigma_sq_eps", torch.ones(3), "don't fit together"),
        ("sigma_sq_eps", -torch.ones(2), "must not be negative"),
        ("sigma_sq_eps", torch.ones(2, 2), "don't fit together"),
    ],
)
def test_a_damaged_state_gets_one_sentence(
    tmp_path: Path, name: str, value: Any, sentence: str
) -> None:
    path = tmp_path / "wm.pt"
    state = theirs_like(random_model(0, 2, 1, 5)).state_dict()
    torch.save({**state, name: value}, path)
    with pytest.raises(InputError, match=sentence) as caught:
        load_world_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
