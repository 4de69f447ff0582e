"""The mean of the saturating reward, and its derivative written out, for one belief.

As :mod:`imagine_cli.rewards.saturating`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imagine_cli.world_models.gp.compiled.exponentials import exp
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array
from imagine_cli.world_models.gp.compiled.moment_terms import invert


class Saturating(NamedTuple):
    """``target`` z and ``scale`` 1 / width, ``(D,)`` each."""

    target: Array
    scale: Array


@kernel
def saturating(
    mean: Array, var: Array, r: Saturating, weight: float, by_mean: Array, by_var: Array
) -> float:
    """The mean; adds ``weight`` times its derivatives to ``(D,)`` and ``(D, D)``."""
    size = len(mean)
    inverse, root = np.empty((size, size)), np.zeros((size, size))
    y, moved = (mean - r.target) * r.scale, np.zeros(size)
    scaled = np.empty((size, size))
    for k in range(size):
        for m in range(size):
            scaled[k, m] = 0.5 * r.scale[k] * r.scale[m] * (var[k, m] + var[m, k])
    log_value = -0.5 * invert(scaled, root, inverse)
    for k in range(size):
        for m in range(size):
            moved[k] += inverse[k, m] * y[m]
        log_value -= 0.5 * moved[k] * y[k]
    value = exp(log_value) if log_value == log_value else np.nan
    for k in range(size):
        by_mean[k] -= weight * value * r.scale[k] * moved[k]
        for m in range(size):
            entry = 0.5 * (moved[k] * moved[m] - inverse[k, m])
            by_var[k, m] += weight * value * r.scale[k] * r.scale[m] * entry
    return value
