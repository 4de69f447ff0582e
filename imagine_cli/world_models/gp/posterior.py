"""The posterior of independent Gaussian processes at points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from imagine_cli.world_models.tiles import padded

_together: ContextVar[bool] = ContextVar("_together", default=False)


@contextmanager
def points_at_once() -> Iterator[None]:
    """All points are computed in one, by matrix products: for a search, of which no record is made.

    Such numbers' bits may depend on what is computed beside them.
    """
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


def are_at_once() -> bool:
    """Whether :func:`points_at_once` is entered."""
    return _together.get()


class GPPosterior(NamedTuple):
    """D independent GPs given data at n inputs, or what data say of n inducing points.

    Each has the mean ``k(x̃)ᵀ β`` and the variance ``α² - |R k(x̃)|²``, where ``k(x̃)`` is the
    kernel between x̃ and the inputs. With all data ``RᵀR = (K + σ² I)⁻¹``; with inducing points it
    is ``K⁻¹`` less the inducing values' own uncertainty.

    Attributes:
        inputs: X̃, the training inputs or the inducing points, ``(n, E)``.
        lengthscales: ℓ, ``(D, E)``.
        signal: α², ``(D,)``.
        beta: β, ``(D, n)``.
        root: R, ``(D, n, n)``.
        noise_root: N, ``(D, n, n)``: the noise of the data, in the units of ``R f(X̃)``, is ``N ε``
            with standard normal ε, and with f of the prior ``R f(X̃) + N ε`` is standard normal.
        nugget: what the diagonal of K has beside the kernel, where N doesn't hold it, ``(D,)``.
    """

    inputs: Tensor
    lengthscales: Tensor
    signal: Tensor
    beta: Tensor
    root: Tensor
    noise_root: Tensor
    nugget: Tensor

    def padded(self) -> GPPosterior:
        """The same with inputs added that count for nothing, so that n is a multiple of eight.

        In products of other widths a row's bits may depend on its place.
        """
        beta = padded(self.beta, -1)
        missing = beta.shape[1] - len(self.inputs)
        return self._replace(
            inputs=torch.cat([self.inputs, self.inputs[:1].expand(missing, -1)]),
            beta=beta,
            root=padded(self.root, -1, -2),
            noise_root=padded(self.noise_root, -1, -2),
        )

    def kernel(self, points: Tensor) -> Tensor:
        """``k(x̃)`` at ``(N, E)`` points: ``(D, N, n)``."""
        if are_at_once():
            middle = self.inputs.mean(0)
            x, z = (
                (part - middle) / self.lengthscales.unsqueeze(1) for part in (points, self.inputs)
            )
            squares = [0.5 * part.square().sum(-1) for part in (x, z)]
            offset = self.signal.log().unsqueeze(-1) - squares[0]
            inner = torch.baddbmm(offset.unsqueeze(-1) - squares[1].unsqueeze(1), x, z.mT)
            return inner.exp()
        # Sums along rows and no small matrix products, so that every point's are done alike.
        distance = points.new_zeros((len(self.beta), len(points), len(self.inputs)))
        for k, precision in enumerate(self.lengthscales.square().reciprocal().mT):
            square = (points[:, k, None] - self.inputs[:, k]).square()
            distance = distance + precision[:, None, None] * square
        return (self.signal.log()[:, None, None] - 0.5 * distance).exp()

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance at ``(N, E)`` points: ``(N, D)`` each.

        Rasmussen & Williams 2006, Eqs. 2.25 and 2.26.
        """
        values = self.kernel(points)
        mean = (values * self.beta.unsqueeze(1)).sum(-1)
        known = (values @ self.root.mT).square().sum(-1)
        return mean.mT, (self.signal.unsqueeze(-1) - known).clamp_min(0.0).mT
