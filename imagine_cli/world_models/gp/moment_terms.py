"""What the moments of moment matching, and their derivative, are made of.

The symbols are those of :mod:`imagine_cli.world_models.gp.moment_matching`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from imagine_cli.errors import ImagineError
from imagine_cli.world_models.gp.gps import GPs

__all__ = ["Terms", "no_covariance", "terms_of", "times"]


class Terms(NamedTuple):
    """What the moments are made of, for beliefs ``B``; L, P and R as :class:`GPs` has them.

    Attributes:
        nu: ν (Eq. 16), one column a point, ``(B, E, n)``.
        products: every ``ν_k ν_l``, ``(B, E², n)``.
        inverse: ``(I + Λ^(-1/2) Σ̃ Λ^(-1/2))⁻¹`` for each Λ, ``(B, L, E', E')``.
        forms: the matrices of the quadratic forms, ``(B, R, E²)``.
        bilinear: ``Λ_b⁻¹ G_ab Λ_a⁻¹``, ``(B, P, E, E)``.
        weights: q and then β q, ``(B, 2 D, n)``.
        left, right: the factors of d, ``(B, P, E + 2, n)``.
        left_weight, right_weight: a and b of the pair sums, ``(B, P, n)``.
    """

    nu: Tensor
    products: Tensor
    inverse: Tensor
    forms: Tensor
    bilinear: Tensor
    weights: Tensor
    left: Tensor
    right: Tensor
    left_weight: Tensor
    right_weight: Tensor


def terms_of(gps: GPs, mean: Tensor, var: Tensor, number: int = 0) -> Terms:
    """The terms at beliefs ``(B, E)``, ``(B, E, E)``; ``number`` is the first one's, in errors."""
    outputs, pairs, size, n = gps.sizes
    batch = len(mean)
    # I + Λ^(-1/2) Σ̃ Λ^(-1/2) for every Λ at once: symmetric positive definite for any Σ̃.
    missing = len(gps.eye) - size
    doubled = pad(var + var.mT, (0, missing, 0, missing)) if missing else var + var.mT
    scaled = gps.half_scales * doubled.unsqueeze(1)
    root, failed = torch.linalg.cholesky_ex(scaled + gps.eye)
    if failed.any():
        raise no_covariance(number + int(failed.any(-1).nonzero()[0]))
    # By what the squared pivots exceed one: its error is relative to Σ̃, as everything in d must be.
    pivots = scaled.diagonal(dim1=-2, dim2=-1) - root.tril(-1).square().sum(-1)
    log_det = pivots.log1p().sum(-1)
    # One memory layout whatever B is, so that the same kernels run and give the same bits.
    inverse = torch.cholesky_inverse(root).contiguous()
    gain = torch.bmm(inverse.flatten(0, 1), scaled.flatten(0, 1)).view(scaled.shape)
    sources = torch.cat([gain + gain.mT, inverse[:, :outputs]], dim=1)[..., :size, :size]
    forms = torch.addcmul(
        sources.index_select(1, gps.first_source) * gps.first_factor,
        sources.index_select(1, gps.second_source),
        gps.second_factor,
    )
    count = outputs + 2 * pairs
    quadratic, bilinear = forms[:, :count].flatten(2), forms[:, count:]
    constants = gps.offsets + (gps.log_dets * log_det.unsqueeze(1)).sum(-1)

    nu = gps.columns - mean.unsqueeze(-1)
    products = (nu.unsqueeze(2) * nu.unsqueeze(1)).flatten(1, 2)
    values = torch.baddbmm(constants.unsqueeze(-1), quadratic, products)
    carried = torch.bmm(bilinear.flatten(1, 2), nu).view(batch, pairs, size, n)
    one = gps.ones.expand(batch, pairs, 1, n)
    of_i, of_j = values[:, outputs : outputs + pairs], values[:, outputs + pairs :]
    q = values[:, :outputs].exp()
    weights = torch.cat([q, gps.beta * q], dim=1)
    return Terms(
        nu=nu,
        products=products,
        inverse=inverse,
        forms=quadratic,
        bilinear=bilinear,
        weights=weights,
        left=torch.cat([carried, of_i.unsqueeze(2), one], dim=2),
        right=torch.cat([nu.unsqueeze(1).expand_as(carried), one, of_j.unsqueeze(2)], dim=2),
        left_weight=weights.index_select(1, gps.left_weight),
        right_weight=weights.index_select(1, gps.right_weight),
    )


def no_covariance(belief: int) -> ImagineError:
    """What is raised where the covariance of this belief is none."""
    return ImagineError(
        f"the covariance of belief {belief} that goes into moment matching is not positive "
        "semi-definite, or not finite"
    )


def times(rows: Tensor, matrices: Tensor) -> Tensor:
    """``rows`` ``(B, D, R, n)`` times the D matrices ``(D, n, n)``.

    Each product is by itself, so that its bits do not depend on how many there are.
    """
    if 0 < len(rows) <= len(matrices):
        each = [torch.bmm(row, matrices) for row in rows]
        return torch.stack(each) if len(each) > 1 else each[0].unsqueeze(0)
    some = [torch.bmm(rows[:, d], m.expand(len(rows), -1, -1)) for d, m in enumerate(matrices)]
    return torch.stack(some, dim=1)
