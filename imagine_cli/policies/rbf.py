"""The radial-basis policy of PILCO, with its moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imagine_cli.belief import Belief, symmetrise
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.parametric import take
from imagine_cli.policies.squash import scaled_expm1
from imagine_cli.policies.squashed import SquashedPolicy, max_action_for
from imagine_cli.world_models.tiles import padded


class RBFPolicy(SquashedPolicy):
    """``u = m sin(v)``, ``v = Σ_i w_i φ_i(x)``, ``φ_i(x) = exp(-½ (x - c_i)ᵀ Λ⁻¹ (x - c_i))``.

    Deisenroth 2010, sections 3.5.2 and 2.3. In the units of the length-scales, with ``z_i =
    Λ^(-1/2) (c_i - μ)`` and ``S = Λ^(-1/2) Σ Λ^(-1/2)``, the moments of the basis functions are::

        log E[φ_i] = log q_i = -½ log|I + S| - ½ z_iᵀ (I + S)⁻¹ z_i
        cov[φ_i, φ_j] = q_i q_j (exp(d_ij) - 1)
        d_ij = z_iᵀ M z_j - ½ z_iᵀ N z_i - ½ z_jᵀ N z_j + ½ log|I + S M|
        M = S (I + 2 S)⁻¹,   N = S (I + S)⁻¹ M

    where d = O(Σ) has no difference of large numbers left, so that the covariance keeps its
    accuracy as Σ goes to zero, is zero at zero, and is differentiable there.

    The moments of v are exact. Those of u are exact for the Gaussian that has the moments of v, as
    in PILCO; v itself is not quite Gaussian.

    Parameters have the names and shapes of torchrl's RBFController, whose state dict loads here
    as it is. That one adds 1e-6 to the diagonal of cov[v], and loses cov[v] to rounding where it
    is below about 1e-16; this one does neither.

    Args:
        centers: c, ``(N, D)``.
        weights: w, ``(N, F)``.
        lengthscales: Λ^(1/2), ``(D,)``, none zero; their sign doesn't matter.
        max_action: m, ``(F,)``; None for ``u = v``.
    """

    kind = "rbf"
    batch_size = 8  # each takes N² numbers

    def __init__(
        self,
        centers: Tensor,
        weights: Tensor,
        lengthscales: Tensor,
        max_action: Tensor | None = None,
    ) -> None:
        super().__init__(max_action)
        self.observation_size, self.action_size = centers.shape[-1], weights.shape[-1]
        self.centers = nn.Parameter(centers)
        self.weights = nn.Parameter(weights)
        self.lengthscales = nn.Parameter(lengthscales)

    def respond_at(self, x: Tensor) -> Tensor:
        centers, weights = self._wide(x)
        scales = padded(self.lengthscales.to(x), -1, fill=1.0)
        z = (padded(x, -1).unsqueeze(-2) - centers) / scales
        v = ((-0.5 * z.square().sum(-1)).exp() @ weights)[..., : self.action_size]
        return v if self.max_action is None else self.max_action.to(x) * v.sin()

    def before_squashing(self, observation: Belief) -> tuple[Tensor, Tensor, Tensor]:
        size, actions = self.observation_size, self.action_size
        mean, var = padded(observation.mean, -1), padded(observation.var, -1, -2)
        centers, weights = self._wide(mean)
        scales = padded(self.lengthscales.to(mean), -1, fill=1.0)
        z = (centers - mean.unsqueeze(-2)) / scales  # (*B, N, D)
        s = symmetrise(var) / (scales.unsqueeze(-1) * scales)
        eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)

        root = torch.linalg.cholesky(eye + s)
        solved = torch.cholesky_solve(z.mT, root).mT  # (I + S)⁻¹ z_i
        half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        log_q = -half_log_det - 0.5 * (z * solved).sum(-1)  # (*B, N)
        weighted = log_q.exp().unsqueeze(-1) * weights  # (*B, N, F)
        cross = (solved / scales).mT @ weighted

        m = symmetrise(torch.cholesky_solve(s, torch.linalg.cholesky(eye + 2.0 * s)))
        carried = z @ m
        own = ((solved @ s) * carried).sum(-1)  # z_iᵀ N z_i
        d = (
            carried @ z.mT
            - 0.5 * (own.unsqueeze(-1) + own.unsqueeze(-2))
            + 0.5 * _log_det_of_one_plus((s @ m)[..., :size, :size])[..., None, None]
        )
        covariance = scaled_expm1(log_q.unsqueeze(-1) + log_q.unsqueeze(-2), d)
        v_var = symmetrise(weights.mT @ covariance @ weights)
        v = weighted.sum(-2)
        return v[..., :actions], v_var[..., :actions, :actions], cross[..., :size, :actions]

    def _wide(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The centers and weights padded; what is added has a weight of zero."""
        centers, weights = padded(self.centers.to(like), -1), self.weights.to(like)
        weights = padded(weights, -2, -1)
        more = centers[:1].expand(len(weights) - len(centers), -1)
        return torch.cat([centers, more]), weights

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> RBFPolicy:
        size, actions = env.observation_size, env.action_size
        shapes = {"centers": (-1, size), "weights": (-1, actions), "lengthscales": (size,)}
        centers, weights, lengthscales = take(state, list(shapes), shapes)
        if len(centers) != len(weights) or len(centers) == 0:
            raise InputError(
                f"it has {len(centers)} centers and {len(weights)} weights; as many of both, and "
                "at least one, are needed"
            )
        if bool((lengthscales == 0).any()):
            raise InputError("one of its lengthscales is 0")
        return cls(
            centers, weights, lengthscales, max_action_for(cls.kind, config, env, centers.dtype)
        )


def _log_det_of_one_plus(matrix: Tensor) -> Tensor:
    """``log|I + Y|`` for symmetric positive semi-definite ``(*B, D, D)``: ``(*B,)``.

    Gaussian elimination that keeps Y and I apart, so that a small Y is not rounded away.
    """
    total = matrix.new_zeros(matrix.shape[:-2])
    for _ in range(matrix.shape[-1]):
        pivot, row = matrix[..., 0, 0], matrix[..., 0, 1:]
        total = total + torch.log1p(pivot)
        outer = row.unsqueeze(-1) * row.unsqueeze(-2)
        matrix = matrix[..., 1:, 1:] - outer / (1.0 + pivot)[..., None, None]
    return total
