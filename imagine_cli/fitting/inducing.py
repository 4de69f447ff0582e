"""Hyperparameters and inducing points of sparse Gaussian processes, with gpytorch.

What is maximised, over the hyperparameters of all outputs and the inducing points that they
share, is the sum over outputs of Titsias' lower bound of the log marginal likelihood (2009,
Eq. 9). Units, and the bounds on noise and signal, are those of
:mod:`imagine_cli.fitting.hyperparameters`; there is no prior on the length-scales, as there are
many data. The bound is taken on a part of the data where there are more than it needs: a
posterior on given inducing points is cheap, finding the points is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from imagine_cli.errors import ImagineError
from imagine_cli.fitting.hyperparameters import NOISE_FLOOR, positive, raw_bounds
from imagine_cli.fitting.split import scales

ITERATIONS = 100
_MOST = 5000


@dataclass(frozen=True)
class SparseHyperparameters:
    """Of D sparse Gaussian processes, in the data's units.

    Attributes:
        inducing_points: ``(m, E)``.
        lengthscales: ``(D, E)``.
        signal_variances, noise_variances: ``(D,)``.
        bounds: what was reached for each output, in nats for each transition; None for one that
            never changes.
    """

    inducing_points: np.ndarray
    lengthscales: np.ndarray
    signal_variances: np.ndarray
    noise_variances: np.ndarray
    bounds: list[float | None]


def fit_inducing_points(
    inputs: np.ndarray,
    targets: np.ndarray,
    start: np.ndarray,
    *,
    seed: np.random.SeedSequence,
    on_iteration: Callable[[float], None] = lambda bound: None,
) -> SparseHyperparameters:
    """The best that 100 iterations of L-BFGS find from ``start``.

    Args:
        inputs: ``(n, E)`` float64.
        targets: ``(n, D)`` float64. A column of zeros gives a process of next to no variance.
        start: inducing points to begin with, ``(m, E)``.
        seed: of which data are used where there are many.
        on_iteration: told the mean of the bounds after each.

    Raises:
        ImagineError: the optimisation led nowhere.
    """
    input_scales = scales(inputs)
    target_scales = np.sqrt(np.mean(np.square(targets), axis=0))
    moves = target_scales >= 1e-150  # whose square is a number to divide by
    outputs = len(moves)
    found = SparseHyperparameters(
        inducing_points=start,
        lengthscales=np.tile(10.0 * input_scales, (outputs, 1)),
        signal_variances=np.full(outputs, 1e-12),
        noise_variances=np.full(outputs, NOISE_FLOOR * 1e-12),
        bounds=[None] * outputs,
    )
    if not moves.any():
        return found
    some = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:_MOST])
    units = target_scales[moves]
    points, standard = _optimise(
        torch.as_tensor(inputs[some] / input_scales),
        torch.as_tensor((targets[np.ix_(some, moves)] / units).T.copy()),
        torch.as_tensor(start / input_scales),
        on_iteration,
    )
    found.lengthscales[moves] = standard["lengthscales"] * input_scales
    found.signal_variances[moves] = standard["signal_variances"] * units**2
    found.noise_variances[moves] = standard["noise_variances"] * units**2
    reached = iter((standard["bounds"] - np.log(units)).tolist())
    bounds = [next(reached) if moving else None for moving in moves]
    return replace(found, inducing_points=points * input_scales, bounds=bounds)


def _optimise(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, on_iteration: Callable[[float], None]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inducing points and the rest, in standard units, from ``(n, E)``, ``(D, n)``, ``(m, E)``."""
    import gpytorch
    from botorch.optim.fit import fit_gpytorch_mll_scipy
    from linear_operator.utils.errors import (  # type: ignore[import-untyped]
        NanError,
        NotPSDError,
    )

    model, mll = _model(x, y, z)

    def loss_and_gradients() -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        mll.zero_grad()
        loss = -mll(model(*model.train_inputs), model.train_targets).sum()
        loss.backward()
        return loss.detach(), [parameter.grad for parameter in mll.parameters()]

    with (
        warnings.catch_warnings(),
        # botorch switches gpytorch's structured matrices off, and the dense one has n² numbers.
        gpytorch.settings.fast_computations(True, True, True),
        gpytorch.settings.max_cholesky_size(1),
        gpytorch.settings.cholesky_jitter(double_value=1e-8),
    ):
        warnings.simplefilter("ignore")
        try:
            fit_gpytorch_mll_scipy(
                mll,
                bounds=raw_bounds("model.covar_module.base_kernel"),
                closure=loss_and_gradients,
                options={"maxiter": ITERATIONS},
                callback=lambda _, result: on_iteration(-float(result.fval) / len(y)),
            )
            with torch.no_grad():
                bounds = mll(model(*model.train_inputs), model.train_targets)
        except (NanError, NotPSDError) as error:
            raise ImagineError(f"the inducing points can't be optimised: {error}") from error
    if not torch.isfinite(bounds).all():
        raise ImagineError(
            "the optimisation of the inducing points did not end in finite numbers; try other "
            "--points or --seed"
        )
    kernel = model.covar_module.base_kernel
    return model.covar_module.inducing_points.detach().numpy(), {
        "lengthscales": kernel.base_kernel.lengthscale.detach().numpy()[:, 0],
        "signal_variances": kernel.outputscale.detach().numpy(),
        "noise_variances": model.likelihood.noise.detach().numpy()[:, 0],
        "bounds": bounds.numpy(),
    }


def _model(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[Any, Any]:
    """All outputs' processes as one batch, and what is maximised, in training mode."""
    from gpytorch.distributions import MultivariateNormal
    from gpytorch.kernels import InducingPointKernel, RBFKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.models import ExactGP

    batch = torch.Size([len(y)])
    likelihood = GaussianLikelihood(noise_constraint=positive(), batch_shape=batch).double()
    rbf = RBFKernel(
        ard_num_dims=x.shape[1], lengthscale_constraint=positive(), batch_shape=batch
    ).double()
    scaled = ScaleKernel(rbf, outputscale_constraint=positive(), batch_shape=batch).double()
    rbf.lengthscale = torch.full((len(y), 1, x.shape[1]), 2.0, dtype=x.dtype)
    scaled.outputscale = torch.ones(len(y), dtype=x.dtype)
    likelihood.noise = torch.full((len(y), 1), 1e-3, dtype=x.dtype)

    class Sparse(ExactGP):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(x.expand(len(y), *x.shape), y, likelihood)
            self.covar_module = InducingPointKernel(scaled, z.clone(), likelihood)

        def forward(self, inputs: torch.Tensor) -> MultivariateNormal:
            return MultivariateNormal(
                inputs.new_zeros(inputs.shape[:-1]), self.covar_module(inputs)
            )

    model = Sparse()
    mll = ExactMarginalLogLikelihood(likelihood, model)
    mll.train()
    return model, mll
