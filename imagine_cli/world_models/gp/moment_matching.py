"""Exact moment matching of a Gaussian belief through independent squared-exponential GPs.

Deisenroth & Rasmussen, "PILCO", ICML 2011, Eqs. 10-23 (cited as "Eq."), and Deisenroth,
"Efficient Reinforcement Learning using Gaussian Processes", 2010, section 2.3. The symbols are
the paper's: ``x̃ ~ N(μ̃, Σ̃)`` the joint belief over observation and action (E = D + F numbers),
``Λ_a`` the squared length-scales, ``α_a²`` the signal variance, ``β_a = (K_a + σ_a² I)⁻¹ y_a``,
``ν_i = x̃_i - μ̃``, ``q_a`` of Eq. 15 and ``Q_ab`` of Eq. 22.

Written so that it stays exact as Σ̃ goes to zero. The paper's ``βᵀ Q β - μ μ`` loses all its
digits there; but ``Q_ab,ij = q_a,i q_b,j exp(d_ij)`` with::

    G(Λ)  = (Σ̃⁻¹ + Λ⁻¹)⁻¹ = Σ̃ (I + Λ⁻¹ Σ̃)⁻¹          (never needs Σ̃⁻¹)
    G_ab  = G((Λ_a⁻¹ + Λ_b⁻¹)⁻¹)
    u_i   = Λ_a⁻¹ ν_i,   v_j = Λ_b⁻¹ ν_j
    d_ij  = u_iᵀ G_ab v_j + ½ u_iᵀ (G_ab - G_a) u_i + ½ v_jᵀ (G_ab - G_b) v_j
            + ½ (log|I + Σ̃ Λ_a⁻¹| + log|I + Σ̃ Λ_b⁻¹| - log|I + Σ̃ (Λ_a⁻¹ + Λ_b⁻¹)|)

and d = O(Σ̃), so that the covariance is a sum of ``(exp(d) - 1)``: no difference of large numbers
is left, no code path depends on the size of Σ̃, and everything is differentiable at Σ̃ = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imagine_cli.world_models.gp.moment_gradient import gradient, sums_at
from imagine_cli.world_models.gp.moment_terms import Constants, Terms, terms_of, times
from imagine_cli.world_models.gp.pair_sum import pair_sum, pair_sum_whole

# The most numbers that one block of beliefs has in any of its arrays: 16 MiB of float64.
_BLOCK = 2**21
# The most numbers that the graph keeps of a step: 4 MiB of float64.
_KEPT = 2**19

PairSum = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Moments = tuple[Tensor, Tensor, Tensor]


def moment_step(c: Constants, noise: Tensor, mean: Tensor, var: Tensor) -> Moments:
    """The next belief (Deisenroth & Rasmussen 2011, Eqs. 10-12).

    Args:
        c: the GPs.
        noise: added to the covariance, ``(D, D)``.
        mean, var: the belief over observation and action, ``(B, E)`` and ``(B, E, E)``.

    Returns:
        ``(B, D)`` and ``(B, D, D)``, symmetric to the bit; and V ``(B, E, D)``, with
        ``cov[x̃, Δ] = Σ̃ V``.

    Raises:
        ImagineError: a covariance that is not one.
    """
    size = len(noise)
    delta, spread, cross = moment_match(c, mean, var)
    # cov[x, Δ] is the first D rows of Σ̃ V.
    shared = (var[:, :size].unsqueeze(2) * cross.mT.contiguous().unsqueeze(1)).sum(-1)
    half = torch.add(shared, var[:, :size, :size] + (spread + noise), alpha=0.5)
    return mean[:, :size] + delta, half + half.mT, cross


def moment_match(c: Constants, mean: Tensor, var: Tensor) -> Moments:
    """The exact first and second moments of ``Δ = f(x̃)`` for ``x̃ ~ N(mean, var)``.

    Args:
        c: the GPs.
        mean: μ̃, ``(B, E)`` float64.
        var: Σ̃, ``(B, E, E)``, symmetric positive semi-definite; zero is fine.

    Returns:
        μ_Δ ``(B, D)`` (Eq. 14); Σ_Δ ``(B, D, D)`` (Eqs. 17-23), without observation noise; and
        V ``(B, E, D)`` with ``cov[x̃, Δ] = Σ̃ V`` (Deisenroth 2010, Eqs. 2.65-2.70).

    Raises:
        ImagineError: a covariance that is not one.

    Differentiable, twice too, in ``mean`` and ``var``. Of a few beliefs the graph keeps what the
    derivative, written out in :mod:`~imagine_cli.world_models.gp.moment_gradient`, is made of;
    of many the two arguments and nothing else, and the backward pass computes the rest again.
    Where a derivative of the derivative is needed, the matrices of n² numbers are in memory as a
    whole.
    """
    if torch.is_grad_enabled() and (mean.requires_grad or var.requires_grad):
        found: Moments = _MomentMatch.apply(mean, var, c)  # type: ignore[no-untyped-call]
        return found
    return _in_blocks(c, mean, var)


class _MomentMatch(torch.autograd.Function):
    """``_moments`` without its intermediate results in the graph."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, var: Tensor, c: Constants) -> Moments:
        ctx.save_for_backward(mean, var)
        ctx.c, ctx.sums = c, None
        _, pairs, size, n = c.sizes
        if not 0 < 4 * len(mean) * pairs * size * n <= _KEPT:
            return _in_blocks(c, mean, var)
        ctx.sums = sums_at(c, mean, var)
        return _moments(c, ctx.sums.terms, ctx.sums.spread)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        mean, var = ctx.saved_tensors
        if not torch.is_grad_enabled():
            c, sums, (delta, spread, cross) = ctx.c, ctx.sums, grads
            found = [
                gradient(c, mean[some], var[some], delta[some], spread[some], cross[some], sums)
                for some in ([slice(None)] if sums is not None else blocks(c, len(mean)))
            ]
            return *(_together([each[k] for each in found]) for k in (0, 1)), None
        terms = terms_of(ctx.c, mean, var)
        moments = _moments(ctx.c, terms, _spread(ctx.c, terms, pair_sum_whole))
        inputs = [x for x in (mean, var) if x.requires_grad]
        gradients = iter(torch.autograd.grad(moments, inputs, grads, create_graph=True))
        return *(next(gradients) if x.requires_grad else None for x in (mean, var)), None


def blocks(c: Constants, batch: int) -> list[slice]:
    """Beliefs that are computed together, so that memory does not grow with their number."""
    _, pairs, size, n = c.sizes
    length = max(1, _BLOCK // (n * max(size * size, pairs * (size + 2))))
    return [slice(first, first + length) for first in range(0, max(1, batch), length)]


def _in_blocks(c: Constants, mean: Tensor, var: Tensor) -> Moments:
    found = []
    for some in blocks(c, len(mean)):
        terms = terms_of(c, mean[some], var[some], some.start)
        found.append(_moments(c, terms, _spread(c, terms, pair_sum)))
    delta, spread, cross = (_together([each[k] for each in found]) for k in range(3))
    return delta, spread, cross


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _spread(c: Constants, terms: Terms, sums: PairSum) -> Tensor:
    return sums(terms.left, terms.right, terms.left_weight, terms.right_weight, c.variance_weights)


def _moments(c: Constants, terms: Terms, spread: Tensor) -> Moments:
    """From the terms and the sums over pairs, ``(B, P)``."""
    outputs, _, size, _ = c.sizes
    # The mean (Eqs. 14, 15) and the input-output covariance.
    q, beta_q = terms.weights[:, :outputs], terms.weights[:, outputs:]
    delta = beta_q.sum(-1)
    # Not a matrix product, whose sums' order may depend on how many beliefs there are.
    moved = (beta_q.unsqueeze(2) * terms.nu.unsqueeze(1)).sum(-1)
    precision = terms.forms[:, :outputs].view(-1, outputs, size, size)  # -½ (Σ̃ + Λ_a)⁻¹
    cross = -2.0 * (moved.unsqueeze(2) * precision).sum(-1)

    # The covariance (Eqs. 17-23): α² - qᵀ (K + σ² I)⁻¹ q as α² minus a sum of squares.
    known = times(q.unsqueeze(2), c.inverse_root_t).squeeze(2).square().sum(-1)
    variance = c.signal - known + spread[:, :outputs]
    if outputs == 1:
        return delta, variance.unsqueeze(-1), cross.mT
    entries = torch.cat([variance, spread[:, outputs:]], dim=1).index_select(1, c.pair_of)
    return delta, entries.view(-1, outputs, outputs), cross.mT
