"""The Gaussian-process world model of PILCO, with exact moment matching."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.gp.base import GPWorldModel, check_values, gram, shapes
from imagine_cli.world_models.gp.posterior import GPPosterior


class GaussianProcessWorldModel(GPWorldModel):
    """GPs given all of their data. Made by :meth:`from_hyperparameters`, ``imagine fit`` or
    ``load_world_model``.

    Attributes:
        jitter: added to the noise variance in the Gram matrix alone.
    """

    kind = "gp"
    called = "a Gaussian process"
    data = ("inputs", "targets", "lengthscales", "signal_variances", "noise_variances")

    inputs: Tensor
    targets: Tensor

    @classmethod
    def from_hyperparameters(
        cls,
        inputs: Any,
        targets: Any,
        lengthscales: Any,
        signal_variances: Any,
        noise_variances: Any,
        process_noise: bool = True,
        *,
        jitter: float = 0.0,
        dtype: torch.dtype = torch.float64,
    ) -> GaussianProcessWorldModel:
        """The posterior for given data and hyperparameters.

        Args:
            inputs: X̃, observations and actions side by side, ``(n, D+F)``.
            targets: next observation minus observation, ``(n, D)``.
            lengthscales: ℓ, ``(D, D+F)``, in the inputs' units.
            signal_variances: α², ``(D,)``, in the targets' units squared.
            noise_variances: σ², ``(D,)``, likewise; zero where the Gram matrix allows it.
            process_noise: add σ² to the next observation's covariance.
            jitter: added to σ² in the Gram matrix alone.
            dtype: of the beliefs that go in and come out.

        Raises:
            InputError: shapes that don't fit together, values that are not finite or not
                positive, or a Gram matrix that is not positive definite.
        """
        given = (inputs, targets, lengthscales, signal_variances, noise_variances)
        return cls.make(dict(zip(cls.data, given, strict=True)), process_noise, jitter, dtype)

    @classmethod
    def _check(cls, data: dict[str, Tensor], jitter: float) -> None:
        inputs, targets = data["inputs"], data["targets"]
        if inputs.ndim != 2 or targets.ndim != 2 or min(*inputs.shape, *targets.shape) < 1:
            raise InputError(
                f"{cls.called} needs inputs (n, D+F) and targets (n, D): {shapes(data)}"
            )
        (n, size), outputs = inputs.shape, targets.shape[1]
        expected = ((n, size), (n, outputs), (outputs, size), (outputs,), (outputs,))
        fits = [tuple(value.shape) for value in data.values()] == list(expected)
        if size < outputs or not fits:
            raise InputError(
                f"the data of {cls.called} don't fit together: expected inputs (n, D+F), targets "
                f"(n, D), lengthscales (D, D+F), variances (D,); got {shapes(data)}"
            )
        check_values(cls.called, data, jitter, "lengthscales", "signal_variances")

    def _condition(self) -> tuple[GPPosterior, Tensor]:
        """Eq. 7, and what moment matching folds together."""
        covariance = gram(self.signal_variances, self.lengthscales, self.inputs, self.inputs)
        noise = self.noise_variances + self.jitter
        covariance.diagonal(dim1=-2, dim2=-1).add_(noise.unsqueeze(-1))
        root, failed = torch.linalg.cholesky_ex(covariance)
        if failed.any():
            raise InputError(
                f"the Gram matrix of output {int(failed.nonzero()[0])} is not positive definite: "
                "training points coincide, or the noise variance is too small beside the signal "
                "variance; raise noise_variances"
            )
        eye = torch.eye(len(self.inputs), dtype=self.inputs.dtype)
        inverse_root = torch.linalg.solve_triangular(root, eye, upper=False)
        posterior = GPPosterior(
            self.inputs,
            self.lengthscales,
            self.signal_variances,
            beta=torch.cholesky_solve(self.targets.mT.unsqueeze(-1), root).squeeze(-1),
            root=inverse_root,
            noise_root=noise.sqrt()[:, None, None] * inverse_root,
            nugget=torch.zeros_like(noise),
        )
        return posterior, torch.cholesky_inverse(root)

    def describe(self) -> dict[str, Any]:
        return {"training points": int(self.inputs.shape[0]), **super().describe()}
