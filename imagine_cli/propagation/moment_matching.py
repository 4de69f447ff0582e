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

from typing import Any, NamedTuple

import torch
from torch import Tensor

from imagine_cli.belief import symmetrise
from imagine_cli.errors import ImagineError
from imagine_cli.propagation.pair_sum import pair_sum

__all__ = ["GPs", "moment_match"]


class GPs(NamedTuple):
    """D independent zero-mean GPs on the same n inputs, with all that depends on them alone.

    Each posterior has the mean ``k(x̃)ᵀ β_a`` and the variance ``α_a² - k(x̃)ᵀ W_a k(x̃)``, where
    ``k(x̃)`` is the kernel between x̃ and the inputs. With all data ``W_a = (K_a + σ_a² I)⁻¹``; with
    inducing points it is ``K_a⁻¹`` less the inducing values' own uncertainty.

    Attributes:
        inputs: X̃, the training inputs or the inducing points, ``(n, E)``.
        inverse_lengthscales: Λ_a^(-1/2), ``(D, 1, E)``.
        signal, log_signal: α_a² and its logarithm, ``(D,)``.
        beta: β_a, ``(D, n)``.
        inverse_root: R_a with ``R_aᵀ R_a = W_a``, ``(D, n, n)``.
        variance_weights: β_a β_aᵀ - W_a with the lower triangle folded into the upper one,
            ``(D, n, n)``.
        first, second: the pairs a < b of outputs, ``(D (D - 1) / 2,)`` each.
        outer_scales: ``s sᵀ`` for s = Λ^(-1/2) of each single a, of each pair (a, a), then of
            each pair a < b, ``(2 D + D (D - 1) / 2, E, E)``.
        eye: the identity ``(E, E)``.
    """

    inputs: Tensor
    inverse_lengthscales: Tensor
    signal: Tensor
    log_signal: Tensor
    beta: Tensor
    inverse_root: Tensor
    variance_weights: Tensor
    first: Tensor
    second: Tensor
    outer_scales: Tensor
    eye: Tensor

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        lengthscales: Tensor,
        signal: Tensor,
        beta: Tensor,
        inverse_root: Tensor,
        explained: Tensor,
    ) -> GPs:
        """From ``lengthscales`` ℓ ``(D, E)``, β, R and ``explained``, W ``(D, n, n)``."""
        weights = beta.unsqueeze(-1) * beta.unsqueeze(-2) - explained
        inverse_lengthscales = lengthscales.reciprocal()
        first, second = torch.triu_indices(len(beta), len(beta), 1)
        squared = inverse_lengthscales.square()
        scales = torch.cat([squared, 2.0 * squared, squared[first] + squared[second]]).sqrt()
        return cls(
            inputs=inputs,
            inverse_lengthscales=inverse_lengthscales.unsqueeze(1),
            signal=signal,
            log_signal=signal.log(),
            beta=beta,
            inverse_root=inverse_root,
            variance_weights=2.0 * weights.triu(1)
            + torch.diag_embed(weights.diagonal(dim1=-2, dim2=-1)),
            first=first,
            second=second,
            outer_scales=scales.unsqueeze(-1) * scales.unsqueeze(-2),
            eye=torch.eye(inputs.shape[1], dtype=inputs.dtype),
        )


def moment_match(gps: GPs, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The exact first and second moments of ``Δ = f(x̃)`` for ``x̃ ~ N(mean, var)``.

    Args:
        gps: the GPs.
        mean: μ̃, ``(B, E)`` float64.
        var: Σ̃, ``(B, E, E)``, symmetric positive semi-definite; zero is fine.

    Returns:
        μ_Δ ``(B, D)`` (Eq. 14); Σ_Δ ``(B, D, D)`` (Eqs. 17-23), without observation noise; and
        V ``(B, E, D)`` with ``cov[x̃, Δ] = Σ̃ V`` (Deisenroth 2010, Eqs. 2.65-2.70).

    Raises:
        ImagineError: a covariance that is not one.

    Differentiable, twice too, in ``mean`` and ``var``. The graph keeps the two arguments and
    nothing else: the backward pass computes the rest again.
    """
    result: tuple[Tensor, Tensor, Tensor]
    if torch.is_grad_enabled() and (mean.requires_grad or var.requires_grad):
        result = _MomentMatch.apply(mean, var, gps)  # type: ignore[no-untyped-call]
    else:
        result = _moments(gps, mean, var)
    return result


class _MomentMatch(torch.autograd.Function):
    """``_moments`` without its intermediate results in the graph."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, var: Tensor, gps: GPs) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(mean, var)
        ctx.gps = gps
        return _moments(gps, mean, var)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled()
        mean, var = ctx.saved_tensors
        if not again:
            mean, var = mean.detach().requires_grad_(), var.detach().requires_grad_()
        with torch.enable_grad():
            moments = _moments(ctx.gps, mean, var)
            inputs = [x for x in (mean, var) if x.requires_grad]
            found = iter(torch.autograd.grad(moments, inputs, grads, create_graph=again))
        return *(next(found) if x.requires_grad else None for x in (mean, var)), None


def _moments(gps: GPs, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, outputs = len(mean), len(gps.beta)
    nu = gps.inputs - mean.unsqueeze(-2)  # (B, n, E), Eq. 16

    # I + Λ^(-1/2) Σ̃ Λ^(-1/2) for every Λ at once: symmetric positive definite for any Σ̃.
    scaled = gps.outer_scales * symmetrise(var).unsqueeze(1)
    root, failed = torch.linalg.cholesky_ex(scaled + gps.eye)
    if failed.any():
        raise ImagineError(
            f"the covariance of belief {int(failed.any(-1).nonzero()[0])} that goes into moment "
            "matching is not positive semi-definite, or not finite"
        )
    # By what the squared pivots exceed one: its error is relative to Σ̃, as everything in d must be.
    pivots = scaled.diagonal(dim1=-2, dim2=-1) - root.tril(-1).square().sum(-1)
    half_log_det = 0.5 * pivots.log1p().sum(-1)
    # One memory layout whatever B is, so that the same kernels run and give the same bits.
    inverse = torch.cholesky_inverse(root).contiguous()
    gain = symmetrise(inverse @ scaled) / gps.outer_scales  # G(Λ)
    parts = [outputs, outputs, gain.shape[1] - 2 * outputs]
    single, same, other = (part.contiguous() for part in torch.split(gain, parts, dim=1))
    log_det, log_det_same, log_det_other = torch.split(half_log_det, parts, dim=1)

    # The mean (Eqs. 14, 15) and the input-output covariance.
    standard = nu.unsqueeze(1) * gps.inverse_lengthscales  # Λ_a^(-1/2) ν_i, (B, D, n, E)
    solved = standard @ inverse[:, :outputs].contiguous()
    log_q = (gps.log_signal - log_det).unsqueeze(-1) - 0.5 * (standard * solved).sum(-1)
    q = log_q.exp()  # (B, D, n)
    beta_q = gps.beta * q
    mean_delta = beta_q.sum(-1)
    cross = (beta_q.unsqueeze(-2) @ solved).squeeze(-2) * gps.inverse_lengthscales.squeeze(-2)

    # The covariance (Eqs. 17-23): variances first, then the pairs a < b.
    u = standard * gps.inverse_lengthscales  # Λ_a⁻¹ ν_i
    left, right = _factors(u, u, single, single, same, 2.0 * log_det - log_det_same)
    flat_q = q.flatten(0, 1)
    spread = pair_sum(left, right, flat_q, flat_q, gps.variance_weights)
    variance = _variance_at(gps, q) + spread.view(batch, outputs)
    if outputs == 1:
        return mean_delta, variance.unsqueeze(-1), cross.mT

    a, b = gps.first, gps.second
    constant = log_det[:, a] + log_det[:, b] - log_det_other
    left, right = _factors(u[:, a], u[:, b], single[:, a], single[:, b], other, constant)
    weights = beta_q[:, a].flatten(0, 1), beta_q[:, b].flatten(0, 1)
    covariance = pair_sum(left, right, *weights, None).view(batch, a.shape[0])
    full = torch.diag_embed(variance)
    full[:, a, b] = covariance
    full[:, b, a] = covariance
    return mean_delta, full, cross.mT


# Beliefs that share one product with the n x n factors. Always so many (the last ones padded),
# so that a belief's bits do not depend on its company.
_TOGETHER = 8


def _variance_at(gps: GPs, q: Tensor) -> Tensor:
    """``α² - qᵀ W q`` ``(B, D)``, as α² minus a sum of squares."""
    batch, padding = len(q), -len(q) % _TOGETHER
    columns = torch.nn.functional.pad(q.permute(1, 2, 0), (0, padding))  # (D, n, B)
    some = torch.split(columns.contiguous(), _TOGETHER, dim=-1)
    explained = [(gps.inverse_root @ each.contiguous()).square().sum(1) for each in some]
    return gps.signal - torch.cat(explained, dim=-1)[:, :batch].mT


def _factors(
    u: Tensor, v: Tensor, gain_a: Tensor, gain_b: Tensor, gain_ab: Tensor, constant: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows whose inner products are the d_ij of the module's docstring: two ``(B·P, n, E+2)``.

    u, v: ``(B, P, n, E)``; the gains ``(B, P, E, E)``; the log-determinants' part ``(B, P)``.
    """
    carried = u @ gain_ab
    row = 0.5 * ((carried - u @ gain_a) * u).sum(-1, keepdim=True) + constant[..., None, None]
    column = 0.5 * ((v @ (gain_ab - gain_b)) * v).sum(-1, keepdim=True)
    one = torch.ones_like(row)
    left = torch.cat([carried, row, one], dim=-1)
    right = torch.cat([v, one, column], dim=-1)
    return left.flatten(0, 1), right.flatten(0, 1)
