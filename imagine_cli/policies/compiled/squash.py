"""``u = m sin(v)`` and its derivative, for one Gaussian v.

As :mod:`imagine_cli.policies.squash`; where m ``(F,)`` is empty, ``u = v``.
"""

from __future__ import annotations

from math import cos, sin

from imagine_cli.world_models.gp.compiled.exponentials import exp, expm1
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array


@kernel
def squash(v: Array, v_var: Array, bound: Array, u: Array, u_var: Array, slope: Array) -> None:
    """The moments of u into ``u`` ``(F,)``, ``u_var`` ``(F, F)`` and ``slope`` ``(F,)``."""
    for i in range(len(v)):
        if len(bound) == 0:
            u[i], slope[i] = v[i], 1.0
            for j in range(len(v)):
                u_var[i, j] = v_var[i, j]
            continue
        damped = bound[i] * exp(-0.5 * v_var[i, i])
        u[i], slope[i] = damped * sin(v[i]), damped * cos(v[i])
        for j in range(len(v)):
            h, g = _halves(v_var, i, j)
            terms = g * cos(v[i]) * cos(v[j]) + h * sin(v[i]) * sin(v[j])
            u_var[i, j] = 2.0 * h * bound[i] * bound[j] * terms


@kernel
def squash_gradient(
    v: Array,
    v_var: Array,
    bound: Array,
    by_u: Array,
    by_u_var: Array,
    by_slope: Array,
    by_v: Array,
    by_v_var: Array,
) -> None:
    """From derivatives by what :func:`squash` gives to those by v's moments."""
    by_v[:] = 0.0
    by_v_var[:] = 0.0
    for i in range(len(v)):
        if len(bound) == 0:
            by_v[i] = by_u[i]
            for j in range(len(v)):
                by_v_var[i, j] = by_u_var[i, j]
            continue
        damped = bound[i] * exp(-0.5 * v_var[i, i])
        sine, cosine = sin(v[i]), cos(v[i])
        by_v[i] += damped * (by_u[i] * cosine - by_slope[i] * sine)
        by_v_var[i, i] -= 0.5 * damped * (by_u[i] * sine + by_slope[i] * cosine)
        for j in range(len(v)):
            h, g = _halves(v_var, i, j)
            scale = bound[i] * bound[j] * by_u_var[i, j]
            sines, cosines = sine * sin(v[j]), cosine * cos(v[j])
            mixed, crossed = sine * cos(v[j]), cosine * sin(v[j])
            by_log = scale * h * (g * cosines + h * sines)
            by_v_var[i, j] += scale * ((g * g + h * h) * cosines + 2.0 * h * g * sines)
            by_v_var[i, i] -= by_log
            by_v_var[j, j] -= by_log
            by_v[i] += scale * 2.0 * h * (h * crossed - g * mixed)
            by_v[j] += scale * 2.0 * h * (h * mixed - g * crossed)


@kernel
def _halves(var: Array, i: int, j: int) -> tuple[float, float]:
    """``exp(l/2) sinh(var_ij/2)`` and ``exp(l/2) cosh(var_ij/2)``, l = -(var_ii + var_jj)/2."""
    half_log, half = -0.25 * (var[i, i] + var[j, j]), 0.5 * var[i, j]
    up, down = exp(half_log + half), exp(half_log - half)
    h = -0.5 * up * expm1(-2.0 * half) if half > 0.0 else 0.5 * down * expm1(2.0 * half)
    return h, 0.5 * (up + down)
