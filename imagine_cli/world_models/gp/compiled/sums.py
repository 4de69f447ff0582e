"""Sums and multiples of vectors."""

from __future__ import annotations

from imagine_cli.world_models.gp.compiled.instructions import fma
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array

__all__ = ["add_multiple", "add_product", "short_sum"]


@kernel
def short_sum(one: Array, other: Array) -> float:
    """``Σ_j one_j other_j`` of vectors of any length; see :func:`~.instructions.dot`."""
    total = 0.0
    for j in range(len(one)):
        total += one[j] * other[j]
    return total


@kernel
def add_multiple(scale: float, values: Array, out: Array) -> None:
    """Adds ``scale`` times ``values`` to ``out``."""
    for j in range(len(out)):
        out[j] = fma(scale, values[j], out[j])


@kernel
def add_product(scale: float, one: Array, other: Array, out: Array) -> None:
    """Adds ``scale`` times ``one`` times ``other`` to ``out``."""
    for j in range(len(out)):
        out[j] = fma(scale * one[j], other[j], out[j])
