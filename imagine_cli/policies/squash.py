"""Squashing a Gaussian into bounds: ``u = m sin(v)``, with exact moments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Squashed(NamedTuple):
    """``mean`` ``(*B, F)``, ``var`` ``(*B, F, F)``, and ``slope`` ``(*B, F)``.

    ``cov[x, u] = cov[x, v] diag(slope)`` for every x that is jointly Gaussian with v.
    """

    mean: Tensor
    var: Tensor
    slope: Tensor


def squash_sin(mean: Tensor, var: Tensor, max_action: Tensor) -> Squashed:
    """The moments of ``u = m sin(v)`` for ``v ~ N(mean, var)``, ``(*B, F)`` and ``(*B, F, F)``.

    Deisenroth 2010, appendix A.1, rearranged: with ``l_ij = -(var_ii + var_jj) / 2``::

        cov[u_i, u_j] = m_i m_j exp(l_ij) (sinh(var_ij) cos v̄_i cos v̄_j
                                           + (cosh(var_ij) - 1) sin v̄_i sin v̄_j)

    which keeps its relative accuracy as var goes to zero, even where the sine is at its top, and
    is positive semi-definite term by term. Smooth everywhere, var = 0 included.
    """
    variances = var.diagonal(dim1=-2, dim2=-1)
    sine, cosine = mean.sin(), mean.cos()
    damped = max_action * (-0.5 * variances).exp()

    # exp(l) sinh(var) = 2 h g and exp(l) (cosh(var) - 1) = 2 h h, with h and g those of var / 2.
    half_log = -0.25 * (variances.unsqueeze(-1) + variances.unsqueeze(-2))
    half = 0.5 * var
    h = 0.5 * (scaled_expm1(half_log, half) - scaled_expm1(half_log, -half))
    g = 0.5 * ((half_log + half).exp() + (half_log - half).exp())
    by_cosine = max_action * cosine
    by_sine = max_action * sine
    outer = g * by_cosine.unsqueeze(-1) * by_cosine.unsqueeze(-2)
    outer = outer + h * by_sine.unsqueeze(-1) * by_sine.unsqueeze(-2)
    return Squashed(damped * sine, 2.0 * h * outer, damped * cosine)


def scaled_expm1(log_scale: Tensor, exponent: Tensor) -> Tensor:
    """``exp(log_scale) (exp(exponent) - 1)`` without overflow while the product has none.

    Exact to rounding at exponent = 0, with its derivatives.
    """
    positive = exponent > 0
    zero = torch.zeros_like(exponent)
    up = torch.where(positive, exponent, zero)
    down = torch.where(positive, zero, exponent)
    return log_scale.exp() * torch.expm1(down) - (log_scale + up).exp() * torch.expm1(-up)
