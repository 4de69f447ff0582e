"""Whole functions drawn from the posterior of Gaussian processes, by pathwise conditioning.

Wilson et al., "Efficiently sampling functions from Gaussian process posteriors", ICML 2020. A
function drawn from the prior is corrected by what the data say of it (Matheron's rule, their
Eqs. 11-13)::

    f(x̃) = g(x̃) + k(x̃)ᵀ c,    c = β - Rᵀ (R g(X̃) + N ε),    ε ~ N(0, I)

``k(x̃)``, β and R are those of :class:`~imagine_cli.propagation.moment_matching.GPs`; ``N ε`` is
the noise of the data, in the units of ``R g``: with all data ``N = σ R``, so that c is the paper's
``(K + σ² I)⁻¹ (y - g(X̃) - σ ε)``. The prior's function g is a sum of F waves (random Fourier
features, Rahimi & Recht 2007)::

    g(x̃) = α / √F Σ_i √(p(ω_i) / q(ω_i)) (w_i cos ω_iᵀ x̃ + w'_i sin ω_iᵀ x̃),    w, w' ~ N(0, 1)

with p the kernel's spectral density N(0, Λ⁻¹) and q that of the frequencies that are drawn. Each
function has waves of its own. So, over the draws, the mean of f at any point and its covariance
between any two are exactly the posterior's, whatever F and q are; they say how Gaussian f is.

The paper draws from p. But what many data leave open is the waves that are too fast for them,
and p has next to none of these: in the sample model of Pendulum-v1, 200,000 waves from p missed up
to a third of the variance that g should leave at a point. So q is Student's t with two degrees of
freedom, which has fast waves in plenty, each with a small weight.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagine_cli.propagation.moment_matching import GPs
from imagine_cli.world_models.tiles import in_tiles, padded, tile_rows

__all__ = [
    "WAVES",
    "Conditioning",
    "Functions",
    "Waves",
    "draw",
    "evaluate",
    "function_size",
    "kernel",
]

WAVES = 64
"""F: how many waves a function of the prior has for each output."""

# The most numbers in a tile of waves at all inputs: 1 MiB of float64 stays in a core's cache.
_TILE = 131_072


class Conditioning(NamedTuple):
    """What a function of the prior needs to become one of the posterior.

    Attributes:
        gps: the posterior.
        noise_root: N, ``(D, n, n)``.
        nugget: the variance that the data's inputs X̃ have beside the kernel's, ``(D,)``: what
            was added to the diagonal of K, if it is not in N.
    """

    gps: GPs
    noise_root: Tensor
    nugget: Tensor


class Waves(NamedTuple):
    """N functions of the prior, for D outputs: ``Σ_i a_i cos(ω_iᵀ x̃ - φ_i)``.

    Attributes:
        frequencies: ω, ``(N, E, D, F)``.
        amplitudes, phases: a and φ, ``(N, D, F)``.
    """

    frequencies: Tensor
    amplitudes: Tensor
    phases: Tensor

    def at(self, points: Tensor) -> Tensor:
        """Each function at points of its own ``(N, E, *S)``: ``(N, D, *S)``."""
        along = (..., *(None,) * (points.ndim - 2), slice(None))
        angle = -self.phases[along]
        for k in range(points.shape[1]):
            angle = angle + points[:, k, None, ..., None] * self.frequencies[:, k][along]
        return (self.amplitudes[along] * angle.cos()).sum(-1)


class Functions(NamedTuple):
    """N functions of the posterior: their waves, and c of each, ``(N, D, n)``."""

    waves: Waves
    update: Tensor


def function_size(gps: GPs) -> int:
    """How many numbers a drawn function is."""
    outputs, n = gps.beta.shape
    return outputs * (WAVES * (gps.inputs.shape[1] + 2) + n)


def draw(given: Conditioning, seeds: Tensor) -> Functions:
    """The functions of ``seeds`` ``(N,)`` int64, 0 or more: each of its own seed alone, to the bit.

    The numbers of a function come from Philox, keyed by its seed.
    """
    waves, updates = zip(
        *(_draw(given, some) for some in torch.split(seeds, tile_rows(seeds))), strict=True
    )
    return Functions(Waves(*map(torch.cat, zip(*waves, strict=True))), torch.cat(updates))


def _draw(given: Conditioning, seeds: Tensor) -> Functions:
    gps = given.gps
    (outputs, n), size, count = gps.beta.shape, gps.inputs.shape[1], len(seeds)
    shapes = ((size, outputs, WAVES), (4, outputs, WAVES), (2, outputs, n))
    lengths = [math.prod(shape) for shape in shapes]
    numbers = np.empty((count, sum(lengths)))
    for row, seed in zip(numbers, seeds.tolist(), strict=True):
        np.random.Generator(np.random.Philox(key=seed)).standard_normal(out=row)
    standard = torch.from_numpy(numbers).to(gps.inputs)
    omega, w, epsilon = (
        part.reshape(count, *shape)
        for part, shape in zip(torch.split(standard, lengths, dim=1), shapes, strict=True)
    )
    # Student's t with two degrees of freedom, in units of the length-scales, and p / q there.
    omega = omega * (0.5 * w[:, 2:].square().sum(1, keepdim=True)).rsqrt()
    half = 0.5 * omega.square().sum(1)
    degrees = 1.0 + 0.5 * size
    ratio = (degrees * half.log1p() - half - math.lgamma(degrees)).exp()
    scale = (ratio * (gps.signal / WAVES).unsqueeze(-1)).sqrt()
    waves = Waves(
        frequencies=omega * gps.inverse_lengthscales[:, 0].mT.unsqueeze(-1),
        amplitudes=scale * torch.hypot(w[:, 0], w[:, 1]),
        phases=torch.atan2(w[:, 1], w[:, 0]),
    )
    together = max(1, _TILE // (outputs * n * WAVES))
    inputs = gps.inputs.mT
    values = torch.cat([
        Waves(*some).at(inputs.expand(len(some[0]), -1, -1))
        for some in zip(*(torch.split(part, together) for part in waves), strict=True)
    ])  # fmt: skip
    values = values + given.nugget.sqrt().unsqueeze(-1) * epsilon[:, 1]
    both = torch.stack([values, epsilon[:, 0]], dim=1).flatten(1)
    return Functions(waves, *in_tiles(partial(_update, given), both))


def _update(given: Conditioning, both: Tensor) -> tuple[Tensor]:
    """c ``(rows, D, n)`` for g(X̃) and ε side by side, ``(rows, 2 D n)``."""
    outputs, n = given.gps.beta.shape
    values, epsilon = both.view(-1, 2, outputs, n).permute(1, 2, 0, 3).contiguous()
    root = padded(given.gps.inverse_root, -1, -2)
    noise = padded(epsilon, -1) @ padded(given.noise_root, -1, -2).mT
    off = (padded(values, -1) @ root.mT + noise) @ root
    return ((given.gps.beta.unsqueeze(1) - off[..., :n]).transpose(0, 1).contiguous(),)


def evaluate(functions: Functions, which: Tensor, gps: GPs, points: Tensor) -> Tensor:
    """Function ``which`` ``(N,)`` at each of the points ``(N, E)``: ``(N, D)``."""
    values = []
    rows = tile_rows(points)
    for some, at in zip(torch.split(which, rows), torch.split(points, rows), strict=True):
        waves = Waves(*(part[some] for part in functions.waves))
        update = functions.update[some].transpose(0, 1).contiguous()
        values.append(waves.at(at) + (kernel(gps, at) * update).sum(-1).mT)
    return torch.cat(values)


def kernel(gps: GPs, points: Tensor) -> Tensor:
    """``k_a`` between ``(N, E)`` points and the GPs' n inputs: ``(D, N, n)``."""
    # Sums along rows and no small matrix products, so that every point's are done alike.
    distance = points.new_zeros((gps.beta.shape[0], points.shape[0], gps.inputs.shape[0]))
    for k, scale in enumerate(gps.inverse_lengthscales.square().unbind(-1)):
        square = (points[:, k, None] - gps.inputs[:, k]).square()
        distance = distance + scale.unsqueeze(-1) * square
    return (gps.log_signal[:, None, None] - 0.5 * distance).exp()
