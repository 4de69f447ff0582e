"""``exp`` and ``expm1`` of float64 as a few additions and multiplications, for whole vectors.

With k the whole number nearest to x / ln 2 and r = x - k ln 2, ``exp(x) - 1 = 2ᵏ (exp(r) - 1) +
(2ᵏ - 1)`` (Tang, "Table-driven implementation of the expm1 function", 1992, without its table).
``|r| <= 0.347``, where Taylor's polynomial of degree 13 is off by less than 2e-17 of its value:
both are within 1.5 units in the last place, ``expm1`` for arguments near zero too.
"""

from __future__ import annotations

from math import factorial, log

import numpy as np

from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.vectors import fma

# Beyond these exp is no ordinary number: see pair_sum._LARGEST, which is the first.
LARGEST = 700.0
_SMALLEST = -708.0

_PER_LN_2 = 1.0 / log(2.0)
# ln 2 in two parts, of which the first has so few digits that its multiples up to 2^11 are exact.
_LN_2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN_2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
# Added to a number below 2^51, it leaves the nearest whole number in the last bits.
_ROUNDER = 1.5 * 2.0**52
_ONE = 0x3FF << 52  # the bits of 1.0

_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1.0 / factorial(degree) for degree in range(2, 14)
)


@kernel
def _split(x: float) -> tuple[float, float]:
    """2ᵏ and ``exp(r) - 1``."""
    rounded = fma(x, _PER_LN_2, _ROUNDER)
    k = rounded - _ROUNDER
    r = fma(k, -_LN_2_LOW, fma(k, -_LN_2_HIGH, x))
    r2 = r * r
    r4 = r2 * r2
    low = fma(r2, fma(_C5, r, _C4), fma(_C3, r, _C2))
    middle = fma(r2, fma(_C9, r, _C8), fma(_C7, r, _C6))
    high = fma(r2, fma(_C13, r, _C12), fma(_C11, r, _C10))
    p = fma(r2, fma(r4, fma(r4, high, middle), low), r)
    bits = np.float64(rounded).view(np.int64)
    return np.int64((bits << 52) + _ONE).view(np.float64), p


@kernel
def expm1(x: float) -> float:
    """``exp(x) - 1``, of 700 for x above it."""
    power, p = _split(max(min(x, LARGEST), _SMALLEST))
    return float(fma(power, p, power - 1.0))


@kernel
def exp(x: float) -> float:
    """``exp(x)``, of 700 for x above it; zero below -708."""
    power, p = _split(max(min(x, LARGEST), _SMALLEST))
    return 0.0 if x < _SMALLEST else float(fma(power, p, power))
