"""GPs as compiled functions take them: plain arrays in plain order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from imagine_cli.world_models.gp.moment_terms import Constants

Array = np.ndarray


class Layout(NamedTuple):
    """What depends on the GPs alone; the names are those of :class:`Constants`.

    ``inverse_root`` is R, in rows as ``inverse_root_t`` is in columns, and ``triangular`` says that
    it has zeros above its diagonal, as a Cholesky factor's inverse does.
    """

    columns: Array
    signal: Array
    beta: Array
    inverse_root: Array
    inverse_root_t: Array
    variance_weights: Array
    half_scales: Array
    log_dets: Array
    offsets: Array
    first_source: Array
    second_source: Array
    first_factor: Array
    second_factor: Array
    left_weight: Array
    right_weight: Array
    pair_of: Array
    triangular: bool

    @classmethod
    def of(cls, constants: Constants) -> Layout:
        """Of GPs in float64 on the CPU: a copy, as tensors may move in memory."""
        parts = constants._asdict()
        arrays = {
            name: parts[name].detach().clone().numpy() for name in cls._fields if name in parts
        }
        return cls(
            **arrays,
            inverse_root=constants.inverse_root_t.mT.clone(
                memory_format=torch.contiguous_format
            ).numpy(),
            triangular=bool((constants.inverse_root_t.tril(-1) == 0).all()),
        )


class Terms(NamedTuple):
    """What the moments of beliefs ``B`` are made of, between one function and the next.

    Attributes:
        failed: beliefs whose covariance is none, ``(B,)``.
        nu: ν, ``(B, E', n)``, with zeros so that E' is a multiple of four.
        inverse: ``(I + Λ^(-1/2) Σ̃ Λ^(-1/2))⁻¹`` for each Λ, ``(B, L, E, E)``.
        log_det: ``log|I + Λ^(-1/2) Σ̃ Λ^(-1/2)|``, ``(B, L)``.
        forms: the matrices of the R quadratic and then of the P bilinear forms,
            ``(B, R + P, E, E)``.
        values: q, β q and then the quadratic forms of each pair's i and j, ``(B, 2 D + 2 P, n)``.
        delta: μ_Δ, ``(B, D)``.
        moved: Σ β q ν, ``(B, D, E)``.
        rooted: R q, ``(B, D, n)``.
    """

    failed: Array
    nu: Array
    inverse: Array
    log_det: Array
    forms: Array
    values: Array
    delta: Array
    moved: Array
    rooted: Array

    @classmethod
    def empty(cls, c: Layout, batch: int) -> Terms:
        """Room for ``batch`` beliefs."""
        (size, n), outputs, count = c.columns.shape, len(c.beta), len(c.half_scales)
        pairs = outputs * (outputs + 1) // 2
        return cls(
            np.zeros(batch, dtype=np.bool_),
            np.zeros((batch, -(-size // 4) * 4, n)),
            np.empty((batch, count, size, size)),
            np.empty((batch, count)),
            np.empty((batch, outputs + 3 * pairs, size, size)),
            np.empty((batch, 2 * outputs + 2 * pairs, n)),
            np.empty((batch, outputs)),
            np.empty((batch, outputs, size)),
            np.empty((batch, outputs, n)),
        )


class Gradients(NamedTuple):
    """Derivatives of a number by what the next beliefs are made of.

    A block is up to :attr:`rows` rows of a pair of outputs. Sums "small" are those of
    ``w (exp(d) - 1)`` and "large" those of ``w exp(d)``.

    Attributes:
        by_sum: by each pair's sum, ``(B, P)``.
        by_cross: by V, ``(B, E, D)``.
        by_moved: by Σ β q ν, ``(B, D, E)``.
        along_rows: small and large sums over j times b, ``(B, P, 2, n)``; of a symmetric pair
            from the square of the diagonal that has i.
        along_columns: small and large sums over the block's i times a,
            ``(B, P, blocks, 2, n)``; of a symmetric pair over the squares above the diagonal's.
        by_bilinear: ``Σ_ij a_i b_j w_ij exp(d_ij) ν_j ν_iᵀ`` of each block,
            ``(B, P, blocks, E, E)``; of a symmetric pair half of it.
        total, weighted, by_form: the derivative by each form's value, summed over the points; the
            same times ν; and times ν νᵀ: ``(B, R)``, ``(B, R, E)``, ``(B, R, E, E)``.
    """

    by_sum: Array
    by_cross: Array
    by_moved: Array
    along_rows: Array
    along_columns: Array
    by_bilinear: Array
    total: Array
    weighted: Array
    by_form: Array

    @classmethod
    def empty(cls, c: Layout, batch: int, blocks: int) -> Gradients:
        """Room for ``batch`` beliefs."""
        (size, n), outputs, forms = c.columns.shape, len(c.beta), len(c.offsets)
        pairs = outputs * (outputs + 1) // 2
        return cls(
            np.empty((batch, pairs)),
            np.empty((batch, size, outputs)),
            np.empty((batch, outputs, size)),
            np.empty((batch, pairs, 2, n)),
            np.empty((batch, pairs, blocks, 2, n)),
            np.empty((batch, pairs, blocks, size, size)),
            np.empty((batch, forms)),
            np.empty((batch, forms, size)),
            np.empty((batch, forms, size, size)),
        )
