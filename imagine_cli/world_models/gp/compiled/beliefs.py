"""From the terms of moment matching to the next beliefs."""

from __future__ import annotations

import numpy as np

from imagine_cli.world_models.gp.compiled.instructions import dot
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Layout, Terms
from imagine_cli.world_models.gp.compiled.sums import short_sum

__all__ = ["input_output", "next_beliefs"]


@kernel
def input_output(t: Terms, belief: int, gain: Array) -> None:
    """V ``(E, D)``, with ``cov[x̃, Δ] = Σ̃ V`` (Deisenroth 2010, Eqs. 2.65-2.70), into ``gain``."""
    size, outputs = gain.shape
    for k in range(size):
        for a in range(outputs):
            gain[k, a] = -2.0 * short_sum(t.forms[belief, a, k], t.moved[belief, a])


@kernel
def next_beliefs(
    first: int,
    last: int,
    c: Layout,
    mean: Array,
    var: Array,
    noise: Array,
    t: Terms,
    sums: Array,
    next_mean: Array,
    next_var: Array,
) -> None:
    """Beliefs ``first`` to ``last``: ``x' = x + Δ`` (Eqs. 10-12), with ``noise`` ``(D, D)``."""
    outputs = len(c.beta)
    size = len(c.columns)
    gain = np.empty((size, outputs))
    for b in range(first, last):
        input_output(t, b, gain)
        for i in range(outputs):
            next_mean[b, i] = mean[b, i] + t.delta[b, i]
            for j in range(outputs):
                # Σ_Δ (Eqs. 17-23), and α² - qᵀ W q as α² less a sum of squares.
                pair = c.pair_of[i * outputs + j]
                entry = 0.0
                for block in range(sums.shape[2]):
                    entry += sums[b, pair, block]
                if i == j:
                    entry += c.signal[i] - dot(t.rooted[b, i], t.rooted[b, i])
                for k in range(size):
                    entry += var[b, i, k] * gain[k, j]
                    entry += var[b, j, k] * gain[k, i]
                next_var[b, i, j] = entry + noise[i, j] + 0.5 * (var[b, i, j] + var[b, j, i])
        for i in range(outputs):  # symmetric to the bit
            for j in range(i):
                next_var[b, i, j] = next_var[b, j, i] = 0.5 * (
                    next_var[b, i, j] + next_var[b, j, i]
                )
