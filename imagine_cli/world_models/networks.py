"""Networks side by side: their layers, and the softly bounded variances that they give."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
}


def through(layers: list[tuple[Tensor, Tensor]], values: Tensor, activation: str) -> Tensor:
    """What M networks give, ``(M, rows, out)``, at inputs ``(M, rows, E)``.

    ``layers`` are weights ``(M, in, out)`` and biases ``(M, out)``, first to last; all but the
    last end in the activation. A layer of all networks is one batched matrix product.
    """
    for k, (weight, bias) in enumerate(layers):
        values = torch.baddbmm(bias.unsqueeze(1), values, weight)
        if k < len(layers) - 1:
            values = ACTIVATIONS[activation](values)
    return values


def bounded(logvar: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Log-variances bent softly to lie between ``low`` and ``high``."""
    logvar = high - functional.softplus(high - logvar)
    return low + functional.softplus(logvar - low)


def bounded_variance(logvar: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``bounded(logvar, low, high).exp()``, written out: ``e^low + 1 / (e^-high + e^-logvar)``.

    One exponential for each number in place of five transcendental functions. Torch computes
    softplus otherwise at the end of an array than before, in the last bit, and so dependent on
    how many numbers and threads there are; exponentials and sums are the same everywhere.
    """
    # Where e^-logvar is not finite, neither is its gradient.
    least = 1.0 - math.log(torch.finfo(logvar.dtype).max)
    inverse = (-logvar.clamp(min=least)).exp() + (-high).exp()
    return low.exp() + inverse.reciprocal()
