"""Hyperparameters of one zero-mean Gaussian process, by marginal likelihood, with gpytorch.

The optimisation runs in standard units: each input divided by its standard deviation (a
stationary kernel doesn't see a shift) and the target divided by its root mean square (a zero-mean
process would see a shift, so there is none). What comes out is in the data's own units.

What is maximised is the log marginal likelihood plus a log-normal prior on each length-scale
``ℓ_k / std_k ~ LogNormal(√2 + ½ log E, √3)`` with E the number of inputs (the scale that random
points keep from each other grows with √E), inside these bounds, in standard units:

- noise standard deviation at least a floor, 1e-4. Simulators have no noise, and their likelihood
  would drive it to zero and the Gram matrix with it to a singular one. A floor that is relative to
  the target and not to the signal costs a smooth function nothing, so that a linear one gets the
  long length-scale that extrapolates well;
- signal standard deviation at most 10. With the floor this keeps the signal-to-noise ratio at
  1e5 or less, and the Gram matrix's condition number at n · 1e10.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from imagine_cli.errors import ImagineError
from imagine_cli.fitting.split import scales

NOISE_FLOOR = 1e-4
SIGNAL_CEILING = 10.0


def raw_bounds(kernel: str, floor: float = NOISE_FLOOR) -> dict[str, tuple[float, float]]:
    """Of the raw parameters, which are logarithms, of the scaled kernel of that name."""
    return {
        f"{kernel}.base_kernel.raw_lengthscale": (math.log(1e-2), math.log(1e6)),
        f"{kernel}.raw_outputscale": (math.log(1e-4), math.log(SIGNAL_CEILING**2)),
        "likelihood.noise_covar.raw_noise": (math.log(floor**2), math.log(4.0)),
    }


def positive() -> Any:
    """A constraint whose raw parameters are logarithms."""
    from gpytorch.constraints import Positive

    return Positive(transform=torch.exp, inv_transform=torch.log)


_ITERATIONS = 200


@dataclass(frozen=True)
class Hyperparameters:
    """Of one Gaussian process, in the data's units.

    Attributes:
        lengthscales: ``(E,)``, in the inputs' units.
        signal_variance: in the target's units squared.
        noise_variance: likewise.
        log_marginal_likelihood: of the data, without priors, in nats; None for a target of zeros.
    """

    lengthscales: np.ndarray
    signal_variance: float
    noise_variance: float
    log_marginal_likelihood: float | None


def fit_hyperparameters(
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    starts: int,
    seed: np.random.SeedSequence,
    floor: float = NOISE_FLOOR,
) -> Hyperparameters:
    """The best of ``starts`` optimisations: the first from a fixed start, the rest from drawn ones.

    Args:
        inputs: ``(n, E)`` float64.
        target: ``(n,)`` float64. All zeros give a process of next to no variance.
        starts: 1 or more.
        seed: of the drawn starts.
        floor: of the noise standard deviation, in standard units.

    Raises:
        ImagineError: no start led anywhere.
    """
    input_scales = scales(inputs)
    target_scale = float(np.sqrt(np.mean(np.square(target))))
    if target_scale < 1e-150:  # whose square is not a number to divide by
        # 1e-6 either way, in steps as long as the inputs are wide.
        return Hyperparameters(10.0 * input_scales, 1e-12, NOISE_FLOOR * 1e-12, None)
    x = torch.as_tensor(inputs / input_scales)
    y = torch.as_tensor(target / target_scale)
    reached = [_optimise(x, y, start, floor) for start in _starts(starts, inputs.shape[1], seed)]
    finite = [found for found in reached if found is not None]
    if not finite:
        raise ImagineError(
            f"none of {starts} optimisations of the marginal likelihood ended in a finite number; "
            "try other --points or --seed"
        )
    standard = max(finite, key=itemgetter(0))[1]  # the first of equals
    return Hyperparameters(
        standard.lengthscales * input_scales,
        standard.signal_variance * target_scale**2,
        standard.noise_variance * target_scale**2,
        (standard.log_marginal_likelihood or 0.0) - len(y) * math.log(target_scale),
    )


def _starts(
    count: int, size: int, seed: np.random.SeedSequence
) -> list[tuple[np.ndarray, float, float]]:
    """Length-scales ``(E,)``, signal and noise variance to start from, in standard units."""
    rng = np.random.default_rng(seed)
    starts = [(np.full(size, 2.0), 1.0, 1e-3)]
    for _ in range(count - 1):
        lengthscales = np.exp(rng.normal(math.log(3.0), 1.0, size))
        signal, noise = rng.uniform(math.log(0.3), math.log(30.0)), rng.uniform(-12.0, -3.0)
        starts.append((lengthscales, math.exp(signal), math.exp(noise)))
    return starts


def _optimise(
    x: torch.Tensor, y: torch.Tensor, start: tuple[np.ndarray, float, float], floor: float
) -> tuple[float, Hyperparameters] | None:
    """What was reached, and where, in standard units. None where the arithmetic broke down."""
    import botorch
    import gpytorch
    from botorch.optim.fit import fit_gpytorch_mll_scipy
    from linear_operator.utils.errors import (  # type: ignore[import-untyped]
        NanError,
        NotPSDError,
    )

    model, mll = _model(x, y)
    lengthscales, signal, noise = start
    kernel, likelihood = model.covar_module, model.likelihood
    kernel.base_kernel.lengthscale = torch.as_tensor(lengthscales)
    kernel.outputscale = signal
    likelihood.noise = noise
    with (
        warnings.catch_warnings(),
        # Cholesky whatever the size: exact, and the same every time.
        gpytorch.settings.max_cholesky_size(len(y) + 1),
        gpytorch.settings.fast_computations(False, False, False),
        botorch.settings.validate_input_scaling(False),
    ):
        warnings.simplefilter("ignore")
        try:
            fit_gpytorch_mll_scipy(
                mll,
                bounds=raw_bounds("model.covar_module", floor),
                options={"maxiter": _ITERATIONS},
            )
            with torch.no_grad():
                prior = model(*model.train_inputs)
                value = float(mll(prior, model.train_targets)) * len(y)
                log_likelihood = float(likelihood(prior).log_prob(model.train_targets))
        except (NanError, NotPSDError):
            return None
    if not (math.isfinite(value) and math.isfinite(log_likelihood)):
        return None
    lengthscales = kernel.base_kernel.lengthscale.detach().numpy().reshape(-1)
    signal, noise = float(kernel.outputscale.detach()), float(likelihood.noise.detach())
    return value, Hyperparameters(lengthscales, signal, noise, log_likelihood)


def _model(x: torch.Tensor, y: torch.Tensor) -> tuple[Any, Any]:
    """The process on ``(n, E)`` and ``(n,)``, and what is maximised, in training mode."""
    import botorch
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import RBFKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.means import ZeroMean
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.priors import LogNormalPrior

    size = x.shape[1]
    lengthscale_prior = LogNormalPrior(math.sqrt(2.0) + 0.5 * math.log(size), math.sqrt(3.0))
    with botorch.settings.validate_input_scaling(False):
        model = SingleTaskGP(
            x,
            y.unsqueeze(-1),
            likelihood=GaussianLikelihood(noise_constraint=positive()),
            mean_module=ZeroMean(),
            covar_module=ScaleKernel(
                RBFKernel(
                    ard_num_dims=size,
                    lengthscale_prior=lengthscale_prior,
                    lengthscale_constraint=positive(),
                ),
                outputscale_constraint=positive(),
            ),
            outcome_transform=None,
            input_transform=None,
        ).double()
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    mll.train()
    return model, mll
