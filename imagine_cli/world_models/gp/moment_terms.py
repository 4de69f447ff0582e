"""What the moments of moment matching, and their derivative, are made of.

:class:`Constants` depend on the GPs alone, :class:`Terms` on a belief too. The symbols are those of
:mod:`imagine_cli.world_models.gp.moment_matching`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from imagine_cli.errors import ImagineError

# Dimensions that are certain are added up to a multiple of four: E x E matrices then begin at even
# addresses, and a belief's bits do not depend on its place in a batch.
_DIMENSIONS = 4


class Constants(NamedTuple):
    """What depends on the GPs alone: D independent ones of zero mean, on the same n inputs.

    Each posterior has the mean ``k(x̃)ᵀ β_a`` and the variance ``α_a² - k(x̃)ᵀ W_a k(x̃)``, where
    ``k(x̃)`` is the kernel between x̃ and the inputs. With all data ``W_a = (K_a + σ_a² I)⁻¹``; with
    inducing points it is ``K_a⁻¹`` less the inducing values' own uncertainty.

    The squared length-scales ``Λ`` that occur are, in this order, ``Λ_a`` of each output,
    ``(2 Λ_a⁻¹)⁻¹`` of each pair (a, a) and ``(Λ_a⁻¹ + Λ_b⁻¹)⁻¹`` of each pair a < b:
    L = 2 D + D (D - 1) / 2 of them. P = D (D + 1) / 2 pairs: (a, a) first, then a < b.
    R = D + 2 P quadratic forms of ν are evaluated: log q_a, then each pair's terms of i, then of j.
    E' is E with certain dimensions added. For the same bits in any batch n is a multiple of eight,
    with inputs that count for nothing.

    Attributes:
        columns: X̃ᵀ, ``(E, n)``.
        signal: α_a², ``(D,)``.
        beta: β_a, ``(D, n)``.
        inverse_root_t: ``R_aᵀ``, where ``R_aᵀ R_a = W_a``, ``(D, n, n)``.
        variance_weights: ``β_a β_aᵀ - W_a``, symmetric, ``(D, n, n)``.
        ones, eye: ``(1, 1, 1, n)`` and ``(E', E')``.
        half_scales: ``½ s sᵀ`` for ``s = Λ^(-1/2)``, ``(L, E', E')``.
        log_dets: by what the log-determinants go into each form's constant, ``(R, L)``.
        offsets: what else is in it, ``(R,)``.
        first_source, second_source, first_factor, second_factor: the matrices of the quadratic
            forms and then of the P bilinear ones are ``first_factor * source[first_source] +
            second_factor * source[second_source]``, where the sources are ``G(Λ)`` in units of
            ``Λ``, twice, for every Λ, and ``(I + Λ^(-1/2) Σ̃ Λ^(-1/2))⁻¹`` for the first D:
            ``(R + P,)`` and ``(R + P, E, E)``.
        left_weight, right_weight: which of ``[q, β q]`` goes with i, and which with j, ``(P,)``.
        pair_of: the pair of each entry of the covariance, ``(D²,)``.
    """

    columns: Tensor
    signal: Tensor
    beta: Tensor
    inverse_root_t: Tensor
    variance_weights: Tensor
    ones: Tensor
    eye: Tensor
    half_scales: Tensor
    log_dets: Tensor
    offsets: Tensor
    first_source: Tensor
    second_source: Tensor
    first_factor: Tensor
    second_factor: Tensor
    left_weight: Tensor
    right_weight: Tensor
    pair_of: Tensor

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """D, P, E, n."""
        outputs, n = self.beta.shape
        return outputs, outputs * (outputs + 1) // 2, len(self.columns), n

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        lengthscales: Tensor,
        signal: Tensor,
        beta: Tensor,
        inverse_root: Tensor,
        explained: Tensor,
    ) -> Constants:
        """From X̃ ``(n, E)``, ℓ ``(D, E)``, α² ``(D,)``, β, R and ``explained``, W ``(D, n, n)``."""
        (n, size), outputs = inputs.shape, len(beta)
        dimensions = -size % _DIMENSIONS
        pairs = outputs * (outputs + 1) // 2
        a, b = torch.triu_indices(outputs, outputs, 1)
        every = torch.arange(outputs)
        first, second = torch.cat([every, a]), torch.cat([every, b])  # of each pair
        precision = lengthscales.square().reciprocal()
        root = torch.cat([precision, precision[first] + precision[second]]).sqrt()
        scales = _outer(root, root)
        p, count = precision, len(scales)
        single, double = scales[:outputs], scales[outputs:]
        # log q_a: -½ νᵀ (Σ̃ + Λ_a)⁻¹ ν; of i: ½ Λ_a⁻¹ (G_ab - G_a) Λ_a⁻¹, and of j with b.
        first_factor = [
            -0.5 * single,
            0.25 * _outer(p[first], p[first]) / double,
            0.25 * _outer(p[second], p[second]) / double,
            0.5 * _outer(p[second], p[first]) / double,
        ]
        second_factor = [
            torch.zeros_like(single),
            -0.25 * single[first],
            -0.25 * single[second],
            torch.zeros_like(double),
        ]
        pair, nothing = torch.arange(outputs, count), torch.zeros(pairs, dtype=torch.int64)
        log_dets = torch.zeros(outputs + 2 * pairs, count, dtype=inputs.dtype)
        log_dets[every, every] = -0.5
        row = outputs + torch.arange(pairs)
        log_dets[row, first] += 0.5
        log_dets[row, second] += 0.5
        log_dets[row, pair] = -0.5
        pair_of = torch.zeros(outputs, outputs, dtype=torch.int64)
        pair_of[first, second] = pair_of[second, first] = torch.arange(pairs)
        # Pairs (a, a) take q, whose β is in their weights; the others take β q.
        shift = torch.cat([torch.zeros_like(every), torch.full_like(a, outputs)])
        return cls(
            columns=inputs.mT.contiguous(),
            signal=signal,
            beta=beta,
            inverse_root_t=inverse_root.mT.contiguous(),
            variance_weights=beta.unsqueeze(-1) * beta.unsqueeze(-2) - explained,
            ones=inputs.new_ones(1, 1, 1, n),
            eye=torch.eye(size + dimensions, dtype=inputs.dtype),
            half_scales=0.5 * pad(scales, (0, dimensions, 0, dimensions)),
            log_dets=log_dets,
            offsets=torch.cat([signal.log(), signal.new_zeros(2 * pairs)]),
            first_source=torch.cat([count + every, pair, pair, pair]),
            second_source=torch.cat([nothing[:outputs], first, second, nothing]),
            first_factor=torch.cat(first_factor),
            second_factor=torch.cat(second_factor),
            left_weight=first + shift,
            right_weight=second + shift,
            pair_of=pair_of.flatten(),
        )


class Terms(NamedTuple):
    """What the moments are made of, for beliefs ``B``; L, P and R as :class:`Constants` has them.

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


def terms_of(c: Constants, mean: Tensor, var: Tensor, number: int = 0) -> Terms:
    """The terms at beliefs ``(B, E)``, ``(B, E, E)``; ``number`` is the first one's, in errors."""
    outputs, pairs, size, n = c.sizes
    batch = len(mean)
    # I + Λ^(-1/2) Σ̃ Λ^(-1/2) for every Λ at once: symmetric positive definite for any Σ̃.
    missing = len(c.eye) - size
    doubled = pad(var + var.mT, (0, missing, 0, missing)) if missing else var + var.mT
    scaled = c.half_scales * doubled.unsqueeze(1)
    root, failed = torch.linalg.cholesky_ex(scaled + c.eye)
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
        sources.index_select(1, c.first_source) * c.first_factor,
        sources.index_select(1, c.second_source),
        c.second_factor,
    )
    count = outputs + 2 * pairs
    quadratic, bilinear = forms[:, :count].flatten(2), forms[:, count:]
    constants = c.offsets + (c.log_dets * log_det.unsqueeze(1)).sum(-1)

    nu = c.columns - mean.unsqueeze(-1)
    products = (nu.unsqueeze(2) * nu.unsqueeze(1)).flatten(1, 2)
    values = torch.baddbmm(constants.unsqueeze(-1), quadratic, products)
    carried = torch.bmm(bilinear.flatten(1, 2), nu).view(batch, pairs, size, n)
    one = c.ones.expand(batch, pairs, 1, n)
    of_i, of_j = values[:, outputs : outputs + pairs], values[:, outputs + pairs :]
    q = values[:, :outputs].exp()
    weights = torch.cat([q, c.beta * q], dim=1)
    return Terms(
        nu=nu,
        products=products,
        inverse=inverse,
        forms=quadratic,
        bilinear=bilinear,
        weights=weights,
        left=torch.cat([carried, of_i.unsqueeze(2), one], dim=2),
        right=torch.cat([nu.unsqueeze(1).expand_as(carried), one, of_j.unsqueeze(2)], dim=2),
        left_weight=weights.index_select(1, c.left_weight),
        right_weight=weights.index_select(1, c.right_weight),
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


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)
