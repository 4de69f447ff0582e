"""Whole functions drawn from the posterior of Gaussian processes, by pathwise conditioning.

Wilson et al., "Efficiently sampling functions from Gaussian process posteriors", ICML 2020. A
function drawn from the prior is corrected by what the data say of it (Matheron's rule, their
Eqs. 11-13)::

    f(x̃) = g(x̃) + k(x̃)ᵀ c,    c = β - Rᵀ (R g(X̃) + N ε),    ε ~ N(0, I)

``k(x̃)``, β, R and N are those of :class:`~imagine_cli.world_models.gp.posterior.GPPosterior`;
with all data ``N = σ R``, so that c is the paper's ``(K + σ² I)⁻¹ (y - g(X̃) - σ ε)``. The prior's
function g is a sum of F waves (random Fourier features, Rahimi & Recht 2007)::

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

from imagine_cli.world_models.gp.posterior import GPPosterior, are_at_once
from imagine_cli.world_models.tiles import in_tiles, tile_rows

WAVES = 64
"""F: how many waves a function of the prior has for each output."""

# The most numbers in a tile of waves at all inputs: 1 MiB of float64 stays in a core's cache.
_TILE = 131_072


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


def function_size(given: GPPosterior) -> int:
    """How many numbers a drawn function is."""
    outputs, n = given.beta.shape
    return outputs * (WAVES * (given.inputs.shape[1] + 2) + n)


def draw(
    given: GPPosterior, seeds: Tensor, known: tuple[Tensor, Functions] | None = None
) -> Functions:
    """The functions of ``seeds`` ``(N,)`` int64, 0 or more: each of its own seed alone, to the bit.

    The numbers of a function come from Philox, keyed by its seed.

    Args:
        given: the posterior, padded.
        seeds: what names the functions, each once and in order.
        known: functions that were drawn before, and their seeds; they are not drawn again.
    """
    if known is not None and (kept := torch.isin(known[0], seeds)).any():
        missing = seeds[~torch.isin(seeds, known[0])]
        order = torch.cat([known[0][kept], missing]).argsort()
        parts = tuple(part[kept] for part in _parts(known[1]))
        if len(missing):
            drawn = _parts(draw(given, missing))
            parts = tuple(torch.cat(both) for both in zip(parts, drawn, strict=True))
        *kept_waves, update = (part[order] for part in parts)
        return Functions(Waves(*kept_waves), update)
    waves, updates = zip(
        *(_draw(given, some) for some in torch.split(seeds, tile_rows(seeds))), strict=True
    )
    return Functions(Waves(*map(torch.cat, zip(*waves, strict=True))), torch.cat(updates))


def _parts(functions: Functions) -> tuple[Tensor, ...]:
    return (*functions.waves, functions.update)


def _draw(given: GPPosterior, seeds: Tensor) -> Functions:
    (outputs, n), size, count = given.beta.shape, given.inputs.shape[1], len(seeds)
    shapes = ((size, outputs, WAVES), (4, outputs, WAVES), (2, outputs, n))
    lengths = [math.prod(shape) for shape in shapes]
    numbers = np.empty((count, sum(lengths)))
    for row, seed in zip(numbers, seeds.tolist(), strict=True):
        np.random.Generator(np.random.Philox(key=seed)).standard_normal(out=row)
    standard = torch.from_numpy(numbers).to(given.inputs)
    omega, w, epsilon = (
        part.reshape(count, *shape)
        for part, shape in zip(torch.split(standard, lengths, dim=1), shapes, strict=True)
    )
    # Student's t with two degrees of freedom, in units of the length-scales, and p / q there.
    omega = omega * (0.5 * w[:, 2:].square().sum(1, keepdim=True)).rsqrt()
    half = 0.5 * omega.square().sum(1)
    degrees = 1.0 + 0.5 * size
    ratio = (degrees * half.log1p() - half - math.lgamma(degrees)).exp()
    scale = (ratio * (given.signal / WAVES).unsqueeze(-1)).sqrt()
    waves = Waves(
        frequencies=omega / given.lengthscales.mT.unsqueeze(-1),
        amplitudes=scale * torch.hypot(w[:, 0], w[:, 1]),
        phases=torch.atan2(w[:, 1], w[:, 0]),
    )
    together = max(1, _TILE // (outputs * n * WAVES))
    inputs = given.inputs.mT
    values = torch.cat([
        Waves(*some).at(inputs.expand(len(some[0]), -1, -1))
        for some in zip(*(torch.split(part, together) for part in waves), strict=True)
    ])  # fmt: skip
    values = values + given.nugget.sqrt().unsqueeze(-1) * epsilon[:, 1]
    both = torch.stack([values, epsilon[:, 0]], dim=1).flatten(1)
    return Functions(waves, *in_tiles(partial(_update, given), both))


def _update(given: GPPosterior, both: Tensor) -> tuple[Tensor]:
    """c ``(rows, D, n)`` for g(X̃) and ε side by side, ``(rows, 2 D n)``."""
    outputs, n = given.beta.shape
    values, epsilon = both.view(-1, 2, outputs, n).permute(1, 2, 0, 3).contiguous()
    off = values @ given.root.mT + epsilon @ given.noise_root.mT
    return ((given.beta.unsqueeze(1) - off @ given.root).transpose(0, 1).contiguous(),)


def evaluate(functions: Functions, which: Tensor, given: GPPosterior, points: Tensor) -> Tensor:
    """Function ``which`` ``(N,)`` at each of the points ``(N, E)``: ``(N, D)``."""
    values = []
    rows = max(1, len(points)) if are_at_once() else tile_rows(points)
    for some, at in zip(torch.split(which, rows), torch.split(points, rows), strict=True):
        waves = Waves(*(part[some] for part in functions.waves))
        update = functions.update[some].transpose(0, 1).contiguous()
        values.append(waves.at(at) + (given.kernel(at) * update).sum(-1).mT)
    return torch.cat(values)
