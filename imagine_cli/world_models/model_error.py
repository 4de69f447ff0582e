"""What a world model misses of the real env, which persists along a trajectory.

A fit to a deterministic simulator errs by a function of where one is, and a trajectory stays where
it errs alike for some steps. A model that draws its whole error afresh at each step lets it cancel,
and its band is too narrow some steps ahead. So of the variances ``v(x̃)`` that a model gives,
the share ρ is an error that persists, and the rest is noise of the process::

    x' = m(x̃) + e + w,     e = √(ρ v(x̃)) ∘ z,     w ~ N(0, √(1-ρ) V(x̃) √(1-ρ))
    z' = φ z + √(1-φ²) ξ,   z, ξ ~ N(0, R)

with ρ for each dimension, one φ (an autoregression of first order), and R the correlations of the
error across dimensions. One step ahead the marginal variances are the model's own, whatever ρ and
φ are; with ρ = 0 nothing changes.

A Gaussian belief is carried with z: z stays N(0, R), and ``C = cov[x, z]`` goes from step to step.
By Stein's lemma ``cov[m(x̃), z] = E[∂m/∂x̃] cov[x̃, z]``. With A that expected slope, C̃ =
``cov[x̃, z]``, Σ'₀ the step without the error, ``E = Σ'₀ - A Σ̃ Aᵀ`` what of it the belief doesn't
explain, and ``Γ = √(ρ diag E)``::

    Σ' = A Σ̃ Aᵀ + A C̃ Γ + (A C̃ Γ)ᵀ + Γ R Γ + √(1-ρ) E √(1-ρ)
    C' = φ (A C̃ + Γ R)

E is the model's covariance V, and the recursion exact, where the model is linear; elsewhere E has
what is not linear in it too, so that Σ' is a covariance however wide the belief is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint, lower_root, product, symmetrise
from imagine_cli.errors import InputError
from imagine_cli.world_models.interfaces import Conditional, Prediction

PREFIX = "model_error."
"""What its tensors' names begin with in a model's state dict."""

_SHAPES = {"share": 1, "persistence": 0, "correlation": 2}


class ModelError(torch.nn.Module):
    """The part of a model's variances that persists along a trajectory, and for how long.

    Args:
        share: ρ, ``(D,)``, from 0 to 1.
        persistence: φ, from 0 to less than 1.
        correlation: R, ``(D, D)``.

    Raises:
        InputError: numbers that can't be these.
    """

    share: Tensor
    persistence: Tensor
    correlation: Tensor
    _root: Tensor

    def __init__(self, share: Any, persistence: Any, correlation: Any) -> None:
        super().__init__()
        given = dict(zip(_SHAPES, (share, persistence, correlation), strict=True))
        for name, value in given.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64).clone())
        _check(self.share, self.persistence, self.correlation)
        self.register_buffer("_root", lower_root(self.correlation), persistent=False)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], size: int) -> ModelError:
        """From what a checkpoint has below :data:`PREFIX`, of a model of D = ``size``."""
        if set(state) != set(_SHAPES) or len(state["share"].reshape(-1)) != size:
            raise InputError(
                f"a model error of {size} dimensions has share ({size},), persistence () and "
                f"correlation ({size}, {size}), not "
                f"{', '.join(f'{name} {tuple(part.shape)}' for name, part in state.items())}"
            )
        return cls(*(state[name] for name in _SHAPES))

    def describe(self) -> dict[str, Any]:
        """What ``imagine inspect`` shows."""
        return {
            "model error, share of the variances": self.share.tolist(),
            "model error, persistence": float(self.persistence),
        }

    def first(self, standard: Tensor) -> Tensor:
        """z ``(*S, D)`` of a trajectory that begins, from standard normal numbers."""
        return product(self._root.to(standard.dtype), standard.unsqueeze(-1))[..., 0]

    def next(self, z: Tensor, standard: Tensor) -> Tensor:
        """z a step later."""
        phi = self.persistence.to(z.dtype)
        return phi * z + (1.0 - phi.square()).sqrt() * self.first(standard)

    def scale(self, variances: Tensor) -> Tensor:
        """Γ's diagonal, of variances ``(*S, D)``: what e is in units of z."""
        positive = variances > 0  # nothing flows through a root of zero, whose slope is infinite
        root = variances.where(positive, variances.new_ones(())).sqrt() * positive
        return self.share.to(variances.dtype).sqrt() * root

    def noise(self, at: Conditional) -> Conditional:
        """The conditional with the variance that is noise of the process alone."""
        kept = (1.0 - self.share).to(at.var.dtype)
        if not at.is_diagonal:
            kept = kept.sqrt()
            kept = kept.unsqueeze(-1) * kept
        return at._replace(var=kept * at.var)

    def carry(
        self, prediction: Prediction, belief: Belief, action: ActionBelief, cross: Tensor
    ) -> tuple[Prediction, Tensor]:
        """A step of a Gaussian belief, with the error.

        Args:
            prediction: the step without it, with its slope.
            belief, action: that it is from.
            cross: C ``(*B, D, D)``.

        Returns:
            The prediction, and C a step later.
        """
        slope, dtype = prediction.slope, prediction.var.dtype
        assert slope is not None
        inputs = joint_cross(cross, action)
        carried = product(slope[..., : inputs.shape[-2]], inputs)
        explained = product(product(slope, joint(belief, action).var), slope.mT)
        left = prediction.var - explained
        gamma = self.scale(left.diagonal(dim1=-2, dim2=-1))
        correlation, kept = self.correlation.to(dtype), (1.0 - self.share.to(dtype)).sqrt()
        both = carried * gamma.unsqueeze(-2)
        # On the diagonal the two bring what is taken away.
        own = gamma.unsqueeze(-1) * correlation * gamma.unsqueeze(-2)
        own = own + (kept.unsqueeze(-1) * kept - 1.0) * left
        own = own - torch.diag_embed(own.diagonal(dim1=-2, dim2=-1))
        var = symmetrise(prediction.var + both + both.mT + own)
        after = self.persistence.to(dtype) * (carried + gamma.unsqueeze(-1) * correlation)
        return prediction._replace(var=var), after


def joint_cross(cross: Tensor, action: ActionBelief) -> Tensor:
    """C̃ ``(*B, D+F, D)`` of C ``(*B, D, D)``; C itself where the action depends on nothing."""
    if action.cross_covariance is None:
        return cross
    return torch.cat([cross, product(action.cross_covariance.mT, cross)], dim=-2)


def variances_at(at: Conditional) -> Tensor:
    """The variances ``(*S, D)`` of a conditional."""
    var = at.var if at.is_diagonal else at.var.diagonal(dim1=-2, dim2=-1)
    return var.expand(at.mean.shape)


def _check(share: Tensor, persistence: Tensor, correlation: Tensor) -> None:
    size = share.numel()
    if share.ndim != 1 or persistence.ndim != 0 or correlation.shape != (size, size):
        raise InputError(
            f"a model error's share {tuple(share.shape)}, persistence {tuple(persistence.shape)} "
            f"and correlation {tuple(correlation.shape)} don't fit together"
        )
    if not ((share >= 0) & (share <= 1)).all() or not 0 <= persistence < 1:
        raise InputError(
            "a model error's share is from 0 to 1 and its persistence from 0 to less than 1, not "
            f"{share.tolist()} and {persistence.item()}"
        )
    sound = (
        torch.isfinite(correlation).all()
        and torch.allclose(correlation, correlation.mT, rtol=0, atol=1e-9)
        and torch.allclose(correlation.diagonal(), torch.ones(size).double(), rtol=0, atol=1e-9)
        and torch.linalg.eigvalsh(correlation).min() > -1e-9
    )
    if not sound:
        raise InputError("a model error's correlation is no matrix of correlations")
