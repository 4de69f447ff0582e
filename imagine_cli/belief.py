"""Gaussian beliefs over observations and actions.

A belief is a mean ``(*B, D)`` and a full covariance ``(*B, D, D)``, in the observation's own
units. A point is a belief whose covariance is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Belief(NamedTuple):
    """``N(mean, var)`` over the observation: ``(*B, D)`` and ``(*B, D, D)``."""

    mean: Tensor
    var: Tensor


class ActionBelief(NamedTuple):
    """What a policy does at a belief ``N(μ, Σ)`` over the observation.

    ``mean`` is ``(*B, F)``. A policy that is deterministic at the belief's mean leaves the rest
    None. Otherwise ``var`` is the action's covariance ``(*B, F, F)``, and ``cross_covariance`` is
    ``C = Σ⁻¹ cov[x, u]`` of shape ``(*B, D, F)``, so that ``cov[x, u] = Σ C`` (the convention of
    PILCO's code and of torchrl's RBFController: finite, and exact, for singular Σ).
    """

    mean: Tensor
    var: Tensor | None = None
    cross_covariance: Tensor | None = None


def point(mean: Tensor) -> Belief:
    """The belief that is certain of ``mean`` ``(*B, D)``."""
    return Belief(mean, mean.new_zeros((*mean.shape, mean.shape[-1])))


def symmetrise(var: Tensor) -> Tensor:
    """``(V + Vᵀ) / 2``, of any batch shape ``(*B, D, D)``: symmetric to the bit."""
    return 0.5 * (var + var.mT)


def nearest_covariance(var: Tensor) -> tuple[Tensor, bool]:
    """``var`` ``(*B, D, D)`` made symmetric, and whether any of it had to be repaired.

    A matrix whose smallest eigenvalue is below zero by more than rounding (√eps of its largest
    variance) gets its negative eigenvalues set to zero, the nearest covariance in the Frobenius
    norm (Higham 1988); every other one is left as it is, to the bit. NaN and inf are left too.
    """
    var = symmetrise(var)
    with torch.no_grad():
        limits = torch.finfo(var.dtype)
        lifted = var.clone()
        variances = lifted.diagonal(dim1=-2, dim2=-1)
        slack = variances.amax(-1, keepdim=True).abs().mul_(limits.eps**0.5).add_(limits.tiny)
        variances.add_(slack)
        failed = torch.linalg.cholesky_ex(lifted)[1]
        if not failed.any():
            return var, False
        bad = (failed != 0) & torch.isfinite(var).all(-1).all(-1)
        if not bad.any():
            return var, False
    values, vectors = torch.linalg.eigh(var[bad])
    repaired = symmetrise(vectors * values.clamp_min(0.0).unsqueeze(-2) @ vectors.mT)
    return var.masked_scatter(bad[..., None, None].expand_as(var), repaired), True


def joint(observation: Belief, action: ActionBelief) -> Belief:
    """The belief over ``x̃ = [x, u]``: ``(*B, D+F)`` and ``(*B, D+F, D+F)``.

    Deisenroth & Rasmussen 2011, section 2.2: ``Σ̃ = [[Σ, Σ C], [(Σ C)ᵀ, Σ_u]]``.
    """
    mean = torch.cat([observation.mean, action.mean], dim=-1)
    size, actions = observation.mean.shape[-1], action.mean.shape[-1]
    if action.var is None and action.cross_covariance is None:
        return Belief(mean, torch.nn.functional.pad(observation.var, (0, actions, 0, actions)))
    shape = observation.var.shape[:-2]
    cross, own = action.cross_covariance, action.var
    cross = mean.new_zeros(*shape, size, actions) if cross is None else observation.var @ cross
    own = mean.new_zeros(*shape, actions, actions) if own is None else own.expand(*shape, -1, -1)
    upper = torch.cat([observation.var, cross], dim=-1)
    return Belief(mean, torch.cat([upper, torch.cat([cross.mT, own], dim=-1)], dim=-2))


def product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product of ``(*B, I, K)`` and ``(*B, K, J)`` for small K, one k after the other.

    A library's product may order its sums by how many matrices there are and by where in memory
    they lie; in this one a matrix's bits depend on the two that are multiplied alone.
    """
    total = left[..., :, :1] * right[..., :1, :]
    for k in range(1, left.shape[-1]):
        total = total + left[..., :, k : k + 1] * right[..., k : k + 1, :]
    return total


def lower_root(var: Tensor) -> Tensor:
    """The lower triangular ``L`` with ``L Lᵀ = var`` ``(*B, E, E)``, also where it is singular.

    Cholesky's, with a column of zeros for each pivot that is zero but for rounding. Differentiable
    wherever ``var`` is positive definite; no gradient flows through the columns of zeros.
    """
    size = var.shape[-1]
    # A pivot below this is what rounding leaves of zero.
    slack = size * torch.finfo(var.dtype).eps * var.diagonal(dim1=-2, dim2=-1)
    below = torch.ones(size, size, dtype=var.dtype, device=var.device).tril()
    columns = []
    for k in range(size):
        pivot = var[..., k, k]
        positive = pivot > slack[..., k].clamp_min(torch.finfo(var.dtype).tiny)
        scale = torch.where(positive, pivot, 1.0).rsqrt() * positive
        column = var[..., k] * (scale.unsqueeze(-1) * below[:, k])
        columns.append(column)
        var = var - column.unsqueeze(-1) * column.unsqueeze(-2)
    return torch.stack(columns, dim=-1)


def fit_to_particles(particles: Tensor) -> Belief:
    """The Gaussian with the mean and the (unbiased) covariance of ``(*B, P, D)``, P >= 2."""
    # Every sum is along one contiguous row of P numbers, so that its order, and the last bit, does
    # not depend on how many batch elements there are.
    rows = particles.mT.contiguous()
    centre = rows.mean(dim=-1)
    rows = rows - centre.unsqueeze(-1)
    columns = [(rows * rows[..., k : k + 1, :]).sum(-1) for k in range(rows.shape[-2])]
    var = torch.stack(columns, dim=-1) / (particles.shape[-2] - 1)
    return Belief(centre, symmetrise(var))
