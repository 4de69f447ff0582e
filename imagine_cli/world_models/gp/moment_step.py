"""A step of a Gaussian belief through GPs on differences, ``x' = x + Δ``."""

from __future__ import annotations

import torch
from torch import Tensor

from imagine_cli.world_models.gp.gps import GPs
from imagine_cli.world_models.gp.moment_matching import moment_match

__all__ = ["moment_step"]


def moment_step(gps: GPs, noise: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """The next belief (Deisenroth & Rasmussen 2011, Eqs. 10-12).

    Args:
        gps: the GPs.
        noise: added to the covariance, ``(D, D)``.
        mean, var: the belief over observation and action, ``(B, E)`` and ``(B, E, E)``.

    Returns:
        ``(B, D)`` and ``(B, D, D)``, symmetric to the bit.

    Raises:
        ImagineError: a covariance that is not one.
    """
    size = len(noise)
    delta, spread, cross = moment_match(gps, mean, var)
    # cov[x, Δ] is the first D rows of Σ̃ V.
    shared = (var[:, :size].unsqueeze(2) * cross.mT.contiguous().unsqueeze(1)).sum(-1)
    half = torch.add(shared, var[:, :size, :size] + (spread + noise), alpha=0.5)
    return mean[:, :size] + delta, half + half.mT
