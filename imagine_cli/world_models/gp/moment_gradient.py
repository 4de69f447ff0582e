"""The derivative of moment matching, written out.

With G(Λ) and d of :mod:`~imagine_cli.world_models.gp.moment_matching`, ``X = Λ^(-1/2) Σ̃ Λ^(-1/2)``
and ``ν = x̃ - μ̃``, everything in the moments is a function of ν and of three functions of X::

    d log|I + X|         = tr((I + X)⁻¹ dX)
    d (I + X)⁻¹          = -(I + X)⁻¹ dX (I + X)⁻¹
    d ((I + X)⁻¹ X)      =  (I + X)⁻¹ dX (I + X)⁻¹

and the sums over pairs, with ``t_ij = a_i b_j w_ij exp(d_ij)``, need of each n x n matrix only its
sums by row and by column and ``Σ_ij t_ij ν_i ν_jᵀ``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from imagine_cli.world_models.gp.moment_terms import Constants, Terms, terms_of, times
from imagine_cli.world_models.gp.pair_sum import pair_sums_for_gradient


class Sums(NamedTuple):
    """The terms at beliefs, and all sums over pairs that moments and derivatives are made of.

    Attributes:
        spread: ``Σ_ij a_i b_j w_ij (exp(d_ij) - 1)``, ``(B, P)``.
        small: ``Σ_i r_i a_i w_ij (exp(d_ij) - 1)`` for r each ν_k and one, ``(B, P, E + 1, n)``.
        by_row: ``Σ_j b_j (exp(d_ij) - 1)`` of pairs without weights, ``(B, P - D, n)``.
    """

    terms: Terms
    spread: Tensor
    small: Tensor
    by_row: Tensor


def sums_at(c: Constants, mean: Tensor, var: Tensor, number: int = 0) -> Sums:
    """The sums at beliefs ``(B, E)``, ``(B, E, E)``; ``number`` is the first one's, in errors."""
    terms = terms_of(c, mean, var, number)
    left, right, a, b = terms.left, terms.right, terms.left_weight, terms.right_weight
    rows = _rows(c, terms)
    return Sums(terms, *pair_sums_for_gradient(left, right, a, b, c.variance_weights, rows))


def _rows(c: Constants, terms: Terms) -> Tensor:
    ones = c.ones.expand(len(terms.nu), -1, -1, -1)
    return terms.left_weight.unsqueeze(2) * torch.cat([terms.nu.unsqueeze(1), ones], dim=2)


def gradient(
    c: Constants,
    mean: Tensor,
    var: Tensor,
    by_delta: Tensor,
    by_spread: Tensor,
    by_cross: Tensor,
    sums: Sums | None = None,
) -> tuple[Tensor, Tensor]:
    """The derivatives by ``mean`` and ``var`` of a number, from those by the three moments.

    Args:
        c, mean, var: as of :func:`moment_match`, ``(B, E)`` and ``(B, E, E)``.
        by_delta, by_spread, by_cross: ``(B, D)``, ``(B, D, D)``, ``(B, E, D)``.
        sums: at ``mean`` and ``var``, where they are known.

    Returns:
        ``(B, E)`` and ``(B, E, E)``.
    """
    outputs, pairs, size, _n = c.sizes
    batch = len(mean)
    sums = sums_at(c, mean, var) if sums is None else sums
    terms = sums.terms
    nu_t = terms.nu.mT
    beta_q = terms.weights[:, outputs:]

    # The mean and V: m_a = Σ β q, h_a = Σ β q ν, V_a = (Σ̃ + Λ_a)⁻¹ h_a.
    forms = terms.forms.view(batch, -1, size, size)
    precision = -2.0 * forms[:, :outputs]
    delta = beta_q.sum(-1, keepdim=True)
    moved = torch.bmm(beta_q, nu_t)
    by_moved = (by_cross.mT.unsqueeze(-2) @ precision).squeeze(-2)
    by_log_q = beta_q * torch.baddbmm(by_delta.unsqueeze(-1), by_moved, terms.nu)

    # The covariance: of each pair's sum, and of what the variances subtract.
    by_sum = by_spread.new_zeros(batch, pairs, 1)
    by_sum.index_add_(1, c.pair_of, by_spread.reshape(batch, -1, 1))
    by_row, by_column, by_a, by_b, by_bilinear = _pairs(c, sums, by_sum)
    q = terms.weights[:, :outputs]
    known = times(times(q.unsqueeze(2), c.inverse_root_t), c.inverse_root_t.mT).squeeze(2)
    by_log_q = by_log_q - 2.0 * by_sum[:, :outputs] * q * known
    by_log_q.index_add_(1, c.left_weight % outputs, by_a)
    by_log_q.index_add_(1, c.right_weight % outputs, by_b)

    # From the values of the forms to their matrices, their constants and ν.
    by_value = torch.cat([by_log_q, by_row, by_column], dim=1)
    by_form = torch.bmm(by_value, terms.products.mT).view(batch, -1, size, size)
    by_form[:, :outputs] -= 2.0 * by_cross.mT.unsqueeze(-1) * moved.unsqueeze(-2)
    weighted = torch.bmm(by_value, nu_t)
    of_i, of_j = weighted[:, outputs : outputs + pairs], weighted[:, outputs + pairs :]
    by_mean = torch.bmm(-2.0 * weighted.view(batch, 1, -1), forms.flatten(1, 2))
    by_mean -= torch.bmm(of_j.reshape(batch, 1, -1), terms.bilinear.flatten(1, 2))
    by_mean -= torch.bmm(delta.mT, by_moved)
    by_mean = by_mean.squeeze(1) - (terms.bilinear * of_i.unsqueeze(-2)).sum((1, 3))

    by_matrix = torch.cat([by_form, by_bilinear], dim=1)
    by_log_det = (c.log_dets * by_value.sum(-1).unsqueeze(-1)).sum(1)
    return by_mean, _by_var(c, terms, by_matrix, by_log_det)


def _pairs(c: Constants, sums: Sums, by_sum: Tensor) -> tuple[Tensor, ...]:
    """What the pair sums contribute, times their derivatives ``(B, P, 1)``.

    Returns:
        Derivatives by the forms of i and of j, ``(B, P, n)`` each; by the logarithms of a and of
        b, likewise; and by the bilinear forms' matrices, ``(B, P, E, E)``.
    """
    outputs = len(c.beta)
    terms, _, small, by_row = sums
    a, b, nu, rows = terms.left_weight, terms.right_weight, terms.nu.unsqueeze(1), _rows(c, terms)
    # Σ_i rows_ri w_ij: together with ``small`` that of w exp(d).
    plain = times(rows[:, :outputs].contiguous(), c.variance_weights)
    constant = rows[:, outputs:].sum(-1, keepdim=True)
    large = torch.cat([small[:, :outputs] + plain, small[:, outputs:] + constant], dim=1)
    scaled_b, scaled_a = by_sum * b, by_sum * a
    by_b, by_column = scaled_b * small[:, :, -1], scaled_b * large[:, :, -1]
    # Pairs (a, a) are symmetric.
    mixed, total = scaled_a[:, outputs:], b[:, outputs:].sum(-1, keepdim=True)
    by_a = torch.cat([by_b[:, :outputs], mixed * by_row], dim=1)
    by_row = torch.cat([by_column[:, :outputs], mixed * (by_row + total)], dim=1)
    by_bilinear = (scaled_b.unsqueeze(2) * nu) @ large[:, :, :-1].mT
    return by_row, by_column, by_a, by_b, by_bilinear


def _by_var(c: Constants, terms: Terms, by_matrix: Tensor, by_log_det: Tensor) -> Tensor:
    """From the matrices ``(B, R + P, E, E)`` and log-determinants ``(B, L)`` to Σ̃."""
    outputs, _, size, _ = c.sizes
    count = by_log_det.shape[1]
    inverse, scales = terms.inverse[..., :size, :size], c.half_scales[:, :size, :size]
    by_source = by_matrix.new_zeros(len(by_matrix), count + outputs, *by_matrix.shape[2:])
    by_source.index_add_(1, c.first_source, by_matrix * c.first_factor)
    by_source.index_add_(1, c.second_source, by_matrix * c.second_factor)
    inner = 2.0 * by_source[:, :count]
    inner[:, :outputs] -= by_source[:, count:]
    by_scaled = inverse @ (inner @ inverse) + by_log_det[..., None, None] * inverse
    half = (scales * by_scaled).sum(1)
    return half + half.mT
