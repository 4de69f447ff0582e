"""The sparse Gaussian-process world model: a GP that knows its data by inducing points alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.threads import one_thread
from imagine_cli.world_models.gp.base import (
    GPWorldModel,
    check_values,
    gram,
    shapes,
)
from imagine_cli.world_models.gp.posterior import GPPosterior


class SparseGPWorldModel(GPWorldModel):
    """GPs given what their data say of m inducing points, which all of them share (Titsias 2009).

    With ``u = f(Z)`` and its covariance ``L Lᵀ = k(Z, Z) + jitter α² I``, the n data are condensed
    to m observations of the whitened inducing values ``v = L⁻¹ u``, of unit noise and without
    loss::

        responses = design v + ε,    ε ~ N(0, I)

    ``design`` is triangular: the factor R of a QR decomposition of ``k(X̃, Z) L⁻ᵀ / σ``. The
    posterior is Titsias' optimal one: with ``Σ = L⁻ᵀ (I + designᵀ design)⁻¹ L⁻¹``, mean
    ``k(x̃)ᵀ β`` and variance ``α² - k(x̃)ᵀ ((L Lᵀ)⁻¹ - Σ) k(x̃)``. A step costs m² where the GP's
    costs n². Made by :meth:`from_hyperparameters`, ``imagine fit`` or ``load_world_model``.

    Attributes:
        jitter: added to the inducing values' variances, in units of the signal variances.
    """

    kind = "sparse-gp"
    called = "a sparse Gaussian process"
    data = (
        "inducing_points", "design", "responses", "lengthscales", "signal_variances",
        "noise_variances",
    )  # fmt: skip

    inducing_points: Tensor
    design: Tensor
    responses: Tensor

    @classmethod
    def from_hyperparameters(
        cls,
        inducing_points: Any,
        inputs: Any,
        targets: Any,
        lengthscales: Any,
        signal_variances: Any,
        noise_variances: Any,
        process_noise: bool = True,
        *,
        jitter: float = 1e-8,
        dtype: torch.dtype = torch.float64,
    ) -> SparseGPWorldModel:
        """The posterior for given data, hyperparameters and inducing points.

        Args:
            inducing_points: Z, ``(m, D+F)``.
            inputs: X̃, observations and actions side by side, ``(n, D+F)``.
            targets: next observation minus observation, ``(n, D)``.
            lengthscales: ℓ, ``(D, D+F)``, in the inputs' units.
            signal_variances: α², ``(D,)``, in the targets' units squared.
            noise_variances: σ², ``(D,)``, likewise; positive.
            process_noise: add σ² to the next observation's covariance.
            jitter: added to the diagonal of ``k(Z, Z)``, in units of α². With none and Z = X̃ the
                posterior is that of the GP with all data.
            dtype: of the beliefs that go in and come out.

        Raises:
            InputError: shapes that don't fit together, values that are not finite or not
                positive, or inducing points too close for the jitter.
        """
        given = (inducing_points, inputs, targets, lengthscales, signal_variances, noise_variances)
        names = ("inducing_points", "inputs", "targets", *cls.data[3:])
        data = {
            name: torch.as_tensor(value, dtype=torch.float64).detach()
            for name, value in zip(names, given, strict=True)
        }
        z, x, y = (data[name] for name in names[:3])
        if any(part.ndim != 2 or 0 in part.shape for part in (z, x, y)):
            raise InputError(
                f"{cls.called} needs inducing_points (m, D+F), inputs (n, D+F) and targets (n, D): "
                f"{shapes(data)}"
            )
        outputs, size = y.shape[1], z.shape[1]
        expected = (z.shape, (len(x), size), (len(x), outputs), *_of_kernel(outputs, size))
        if size < outputs or any(data[k].shape != w for k, w in zip(names, expected, strict=True)):
            raise InputError(
                f"the data of {cls.called} don't fit together: expected inducing_points (m, D+F), "
                "inputs (n, D+F), targets (n, D), lengthscales (D, D+F), variances (D,); got "
                f"{shapes(data)}"
            )
        check_values(cls.called, data, jitter, *names[3:])
        with one_thread():
            design, responses = _condense(*list(data.values()), jitter=jitter)
        data |= {"design": design, "responses": responses}
        return cls.make({name: data[name] for name in cls.data}, process_noise, jitter, dtype)

    @classmethod
    def _check(cls, data: dict[str, Tensor], jitter: float) -> None:
        z, responses = data["inducing_points"], data["responses"]
        if z.ndim != 2 or responses.ndim != 2 or min(*z.shape, *responses.shape) < 1:
            raise InputError(
                f"{cls.called} needs inducing_points (m, D+F) and responses (D, m): {shapes(data)}"
            )
        (m, size), outputs = z.shape, len(responses)
        expected = (z.shape, (outputs, m, m), (outputs, m), *_of_kernel(outputs, size))
        if size < outputs or any(
            data[k].shape != w for k, w in zip(cls.data, expected, strict=True)
        ):
            raise InputError(
                f"the data of {cls.called} don't fit together: expected inducing_points (m, D+F), "
                "design (D, m, m), responses (D, m), lengthscales (D, D+F), variances (D,); got "
                f"{shapes(data)}"
            )
        check_values(cls.called, data, jitter, *cls.data[3:])

    def _condition(self) -> tuple[GPPosterior, Tensor]:
        root = _root(self.inducing_points, self.lengthscales, self.signal_variances, self.jitter)
        eye = torch.eye(root.shape[-1], dtype=root.dtype).expand_as(root)
        # Q Qᵀ = I + design designᵀ, by another QR: the product would square the condition number.
        q = torch.linalg.qr(torch.cat([self.design.mT, eye], dim=-2), mode="r").R.mT
        noise_root = torch.linalg.solve_triangular(q, eye, upper=False)
        # (L Lᵀ)⁻¹ - Σ = Rᵀ R with R = Q⁻¹ design L⁻¹.
        inverse_root = torch.linalg.solve_triangular(
            root, noise_root @ self.design, upper=False, left=False
        )
        scaled = noise_root @ self.responses.unsqueeze(-1)
        posterior = GPPosterior(
            self.inducing_points,
            self.lengthscales,
            self.signal_variances,
            beta=(inverse_root.mT @ scaled).squeeze(-1),
            root=inverse_root,
            noise_root=noise_root,
            nugget=self.jitter * self.signal_variances,
        )
        return posterior, inverse_root.mT @ inverse_root

    def describe(self) -> dict[str, Any]:
        return {"inducing points": len(self.inducing_points), **super().describe()}


def _of_kernel(outputs: int, size: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of length-scales, signal and noise variances."""
    return (outputs, size), (outputs,), (outputs,)


def _root(z: Tensor, lengthscales: Tensor, signal: Tensor, jitter: float) -> Tensor:
    """L of every output: ``(D, m, m)``."""
    covariance = gram(signal, lengthscales, z, z)
    covariance.diagonal(dim1=-2, dim2=-1).add_((jitter * signal).unsqueeze(-1))
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed.any():
        raise InputError(
            f"the inducing points of output {int(failed.nonzero()[0])} are too close to each "
            "other; give fewer of them, or a larger jitter"
        )
    return root


def _condense(
    z: Tensor,
    inputs: Tensor,
    targets: Tensor,
    lengthscales: Tensor,
    signal: Tensor,
    noise: Tensor,
    *,
    jitter: float,
) -> tuple[Tensor, Tensor]:
    """The design ``(D, m, m)`` and the responses ``(D, m)`` of the data."""
    m, found = len(z), []
    roots = _root(z, lengthscales, signal, jitter)
    for a, root in enumerate(roots):
        some = slice(a, a + 1)
        cross = gram(signal[some], lengthscales[some], z, inputs)[0]
        rows = torch.linalg.solve_triangular(root, cross, upper=False).mT
        both = torch.cat([rows, targets[:, some]], dim=1) / noise[a].sqrt()
        both = torch.nn.functional.pad(both, (0, 0, 0, max(0, m - len(both))))
        found.append(torch.linalg.qr(both, mode="r").R[:m])
    factors = torch.stack(found)
    return factors[..., :m].contiguous(), factors[..., m].contiguous()
