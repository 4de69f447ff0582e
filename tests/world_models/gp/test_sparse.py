"""The sparse GP's posterior, by the textbook and by GPyTorch; what it refuses and remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import InputError
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.registry import WORLD_MODELS
from imagine_cli.world_models import GaussianProcessWorldModel, SparseGPWorldModel
from tests.helpers.gp_models import match, random_belief, random_model, stacked
from tests.helpers.gp_reference import exact, worst
from tests.helpers.sparse_gps import random_sparse, sparse_of


def points(model: SparseGPWorldModel, count: int, seed: int = 5) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    size = model.observation_size + model.action_size
    x = torch.randn(count, size, generator=g, dtype=torch.float64) * model.lengthscales.mean(0)
    return x[:, : model.observation_size], x[:, model.observation_size :]


def titsias(
    model: SparseGPWorldModel, whole: GaussianProcessWorldModel, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the difference and variance of its function, as Titsias 2009, Eq. 6, prints them."""
    z, x, y = model.inducing_points.numpy(), whole.inputs.numpy(), whole.targets.numpy()
    means, variances = [], []
    for a in range(y.shape[1]):
        ell, signal = model.lengthscales[a].numpy(), float(model.signal_variances[a])
        noise = float(model.noise_variances[a])

        def kernel(
            one: np.ndarray, other: np.ndarray, ell: np.ndarray = ell, signal: float = signal
        ) -> np.ndarray:
            return signal * np.exp(-0.5 * np.square((one[:, None] - other) / ell).sum(-1))

        inner = kernel(z, z) + model.jitter * signal * np.eye(len(z))
        cross, new = kernel(z, x), kernel(z, at)
        sigma = np.linalg.inv(inner + cross @ cross.T / noise)
        means.append(new.T @ sigma @ cross @ y[:, a] / noise)
        known = np.linalg.inv(inner) - sigma
        variances.append(signal - np.einsum("ik,ij,jk->k", new, known, new))
    return np.stack(means, 1), np.stack(variances, 1)


@pytest.mark.parametrize("jitter", [0.0, 1e-4])
def test_the_posterior_is_titsias(jitter: float) -> None:
    model, whole = random_sparse(0, 3, 2, points=12, n=200, units=False, jitter=jitter)
    x, u = points(model, 50)
    at = model.conditional(x, u)
    mean, variance = titsias(model, whole, torch.cat([x, u], 1).numpy())
    # the textbook inverts Gram matrices of condition 1e3 to 1e5
    np.testing.assert_allclose(at.mean, x.numpy() + mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(at.var, variance + model.noise_variances.numpy(), rtol=1e-9)
    certain = model.predict(point(x), ActionBelief(u))
    torch.testing.assert_close(certain.mean, at.mean, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(certain.var, at.covariance, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("noise", [(1e-3, 1e-1), (1e-6, 1e-5)])
def test_with_every_input_inducing_it_is_the_gp(noise: tuple[float, float]) -> None:
    whole = random_model(1, 3, 1, 40, noise=noise)
    model = sparse_of(whole, whole.inputs, jitter=0.0)
    belief, action = random_belief(whole, 2, 0.3, action="policy")
    for found, wanted in zip(
        match(model, belief, action), match(whole, belief, action), strict=True
    ):
        assert worst(found, wanted, wanted.abs().amax().expand_as(wanted)) < 1e-9
    x, u = points(model, 60)
    found_at, at = model.conditional(x, u), whole.conditional(x, u)
    unit = whole.signal_variances
    assert ((found_at.mean - at.mean).abs() < 1e-10 * unit.sqrt()).all()
    assert ((found_at.var - at.var).abs() < 1e-12 * unit).all()


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-2, 1.0])
@pytest.mark.parametrize("rank", [None, 1])
def test_moments_are_exact(size: float, rank: int | None) -> None:
    """Against 50 digits. The Gram matrix of the inducing points has a condition number of 1e5."""
    model, whole = random_sparse(3, 2, 1, points=7, n=30, jitter=1e-5)
    belief, action = random_belief(model, 4, size, rank=rank, action="policy")
    wanted = exact(model, belief, action, data=(whole.inputs, whole.targets))
    mean, var, gain = match(model, belief, action)
    assert worst(mean, wanted.mean, wanted.sums) < 1e-10
    deviation = wanted.var.diagonal().sqrt()
    assert worst(var, wanted.var, deviation * deviation[:, None]) < 1e-9
    lengthscales = model.lengthscales.mT
    scale = (wanted.gain.abs() * lengthscales).amax(0) / lengthscales
    assert worst(gain, wanted.gain, scale) < 1e-9
    if size:  # what two outputs share goes to zero with the belief, and nothing hides it
        spread = wanted.spread.sqrt()
        assert abs(var[0, 1] - wanted.var[0, 1]) < 1e-8 * spread[0] * spread[1]


def test_it_is_gpytorchs_posterior() -> None:
    """SGPR in eval mode. Its own diagonal correction goes to the training covariance too, which
    is FITC and not Titsias; so it is off, and what it adds to a new point's variance, the prior's
    less what the inducing points know of it, is added here."""
    gpytorch = pytest.importorskip("gpytorch")
    model, whole = random_sparse(2, 2, 1, points=15, n=120, units=False, jitter=0.0)
    x, u = points(model, 40)
    at = model.conditional(x, u)
    for a in range(2):
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = model.noise_variances[a]
        rbf = gpytorch.kernels.RBFKernel(ard_num_dims=3).double()
        rbf.lengthscale = model.lengthscales[a]
        scaled = gpytorch.kernels.ScaleKernel(rbf).double()
        scaled.outputscale = model.signal_variances[a]

        class Sparse(gpytorch.models.ExactGP):  # type: ignore[misc, name-defined]
            def __init__(self, scaled: Any, likelihood: Any, targets: Any) -> None:
                super().__init__(whole.inputs, targets, likelihood)
                self.covar_module = gpytorch.kernels.InducingPointKernel(
                    scaled, model.inducing_points.clone(), likelihood
                )

            def forward(self, inputs: Any) -> Any:
                zeros = inputs.new_zeros(len(inputs))
                return gpytorch.distributions.MultivariateNormal(zeros, self.covar_module(inputs))

        reference = Sparse(scaled, likelihood, whole.targets[:, a]).eval()
        with (
            torch.no_grad(),
            gpytorch.settings.fast_computations(True, True, True),
            gpytorch.settings.sgpr_diagonal_correction(False),
        ):
            new = torch.cat([x, u], dim=1)
            found = likelihood.eval()(reference(new))
            known = reference.covar_module(new).to_dense().diagonal()
        var = found.variance + model.signal_variances[a] - known
        torch.testing.assert_close(at.mean[:, a] - x[:, a], found.mean, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(at.var[:, a], var, rtol=1e-10, atol=1e-11)


def test_fewer_data_than_inducing_points() -> None:
    model, whole = random_sparse(4, 2, 1, points=20, n=5, units=False, jitter=1e-8)
    x, u = points(model, 10)
    at = model.conditional(x, u)
    mean, variance = titsias(model, whole, torch.cat([x, u], 1).numpy())
    np.testing.assert_allclose(at.mean, x.numpy() + mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(at.var, variance + model.noise_variances.numpy(), rtol=1e-6)


def test_a_beliefs_bits_do_not_depend_on_the_beliefs_beside_it() -> None:
    model, _ = random_sparse(5, 3, 1, points=21, n=60)
    belief, action = stacked(model, 9, 0.3)  # type: ignore[arg-type]
    together = model.predict(belief, action)
    for rows in (slice(0, 1), slice(3, 5), slice(8, 9)):
        some = ActionBelief(*(part[rows] for part in action if part is not None))
        alone = model.predict(Belief(belief.mean[rows], belief.var[rows]), some)
        assert torch.equal(alone.mean, together.mean[rows])
        assert torch.equal(alone.var, together.var[rows])
    x, u = points(model, 50)
    at = model.conditional(x, u)
    assert torch.equal(model.conditional(x[7:9], u[7:9]).var, at.var[7:9])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_config_and_state_make_it_again(dtype: torch.dtype) -> None:
    model, _ = random_sparse(6, 2, 1, points=9, n=40, dtype=dtype, process_noise=False)
    assert WORLD_MODELS.load("sparse-gp") is SparseGPWorldModel
    assert set(model.state_dict()) == set(SparseGPWorldModel.data)
    again = SparseGPWorldModel.from_config(model.config(), model.state_dict())
    assert again.config() == model.config() == {
        "process_noise": False, "jitter": 1e-8, "dtype": str(dtype).removeprefix("torch."),
    }  # fmt: skip
    belief, action = random_belief(model, 1, 0.1, action="policy")  # type: ignore[arg-type]
    for found, wanted in zip(
        again.predict(belief, action)[:2], model.predict(belief, action)[:2], strict=True
    ):
        assert found.dtype == dtype
        assert torch.equal(found, wanted)
    assert model.describe()["inducing points"] == 9


def spoilt(change: dict[str, Any]) -> dict[str, Any]:
    whole = random_model(0, 2, 1, 20, units=False)
    given = {
        "inducing_points": whole.inputs[:6], "inputs": whole.inputs, "targets": whole.targets,
        "lengthscales": whole.lengthscales, "signal_variances": whole.signal_variances,
        "noise_variances": whole.noise_variances,
    }  # fmt: skip
    return {**given, **change}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inducing_points": np.zeros(3)}, r"needs inducing_points \(m, D\+F\).*points \(3,\)"),
        ({"inducing_points": np.zeros((0, 3))}, r"needs inducing_points"),
        ({"inducing_points": np.eye(4)}, r"don't fit together.*inducing_points \(4, 4\)"),
        ({"targets": np.zeros((19, 2))}, r"don't fit together.*targets \(19, 2\)"),
        ({"signal_variances": [1.0]}, r"don't fit together.*signal_variances \(1,\)"),
        ({"inducing_points": np.full((2, 3), np.nan)}, r"inducing_points\[0, 0\].*nan"),
        ({"noise_variances": [0.1, 0.0]}, "noise_variances .* must be positive"),
        ({"lengthscales": np.zeros((2, 3))}, "lengthscales .* must be positive"),
        ({"jitter": -1.0}, "jitter of 0 or more"),
        ({"inducing_points": np.zeros((4, 3)), "jitter": 0.0}, "inducing points of output 0"),
    ],
)
def test_bad_data_gets_its_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SparseGPWorldModel.from_hyperparameters(**spoilt(change))


def test_a_bad_state_is_refused() -> None:
    model = SparseGPWorldModel.from_hyperparameters(**spoilt({}))
    for name, value, sentence in (
        ("design", torch.zeros(2, 5, 6), r"don't fit together.*design \(2, 5, 6\)"),
        ("responses", torch.zeros(12), r"responses \(D, m\)"),
        ("design", torch.full((2, 6, 6), torch.inf), r"design\[0, 0, 0\]"),
        ("extra", torch.zeros(1), "has no extra"),
    ):
        with pytest.raises(InputError, match=sentence):
            SparseGPWorldModel.from_config(model.config(), {**model.state_dict(), name: value})
