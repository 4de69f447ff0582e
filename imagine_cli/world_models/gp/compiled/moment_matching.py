"""A step of beliefs and its derivative, on as many threads as torch has.

Beliefs are shared out among the threads, or where they are fewer than those the sums over pairs
of one belief after the other. Neither changes a bit.

The threads are Python's and not those of Numba's ``prange``, which ends a process: with OpenMP a
forked one, with Numba's work queue any in which two threads imagine at once
(``python tests/benchmarks/numba_limits.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import torch

from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Gradients, Layout, Terms
from imagine_cli.world_models.gp.compiled.moment_gradient import (
    by_beliefs,
    by_forms,
    by_moments,
    by_pairs,
)
from imagine_cli.world_models.gp.compiled.moment_terms import (
    forms_at_points,
    input_output,
    matrices,
)
from imagine_cli.world_models.gp.compiled.pair_sum import ROWS, pair_sums, rooted
from imagine_cli.world_models.gp.compiled.vectors import dot

# To hand work to a sleeping thread takes as long as so many exponentials.
_FEWEST = 400_000
# A derivative's sums along columns are kept for each block of rows; so many blocks at most.
_BLOCKS = 8
# The most numbers that a thread has of its beliefs at once: 16 MiB.
_NUMBERS = 2**21


def prepare(c: Layout) -> None:
    """Have :func:`forward` compiled, in parts between which Ctrl-C takes effect."""
    size, outputs = len(c.columns), len(c.beta)
    mean, var, t = np.empty((0, size)), np.empty((0, size, size)), Terms.empty(c, 0)
    next_mean, next_var = np.empty((0, outputs)), np.empty((0, outputs, outputs))
    noise, sums = np.empty((outputs, outputs)), np.empty((0, 0, 0))
    cross = np.empty((0, size, outputs))
    matrices(0, 0, c, mean, var, t)
    forms_at_points(0, 0, c, t)
    rooted(0, 0, c, t)
    pair_sums(0, 0, c, t, sums)
    next_beliefs(0, 0, c, mean, var, noise, t, sums, next_mean, next_var, cross)
    _forward(c, mean, var, noise, t, sums, next_mean, next_var, cross)


def forward(c: Layout, mean: Array, var: Array, noise: Array) -> tuple[Array, Array, Array, Array]:
    """The next beliefs, and which could not be computed.

    Args:
        c: the GPs.
        mean, var: beliefs over observation and action, ``(B, E)`` and ``(B, E, E)``.
        noise: added to the covariance, ``(D, D)``.

    Returns:
        ``(B, D)``, ``(B, D, D)``; V ``(B, E, D)`` with ``cov[x̃, Δ] = Σ̃ V``; and where a
        covariance is none ``(B,)``.
    """
    (outputs, n), batch = c.beta.shape, len(mean)
    blocks = -(-n // ROWS)
    next_mean, next_var = np.empty((batch, outputs)), np.empty((batch, outputs, outputs))
    cross = np.empty((batch, mean.shape[1], outputs))
    failed = np.empty(batch, dtype=np.bool_)

    def run(first: int, last: int, threads: int = 1) -> None:
        some = slice(first, last)
        t = Terms.empty(c, last - first)
        sums = np.empty((last - first, len(c.left_weight), blocks))
        out = next_mean[some], next_var[some], cross[some]
        if threads == 1:
            _forward(c, mean[some], var[some], noise, t, sums, *out)
        else:
            terms(c, mean[some], var[some], t)
            _share(threads, _work(c, ROWS), lambda i, j: pair_sums(i, j, c, t, sums))
            next_beliefs(0, last - first, c, mean[some], var[some], noise, t, sums, *out)
        failed[some] = t.failed

    _run(c, batch, run)
    return next_mean, next_var, cross, failed


def backward(
    c: Layout,
    mean: Array,
    var: Array,
    by_next_mean: Array,
    by_next_var: Array,
    by_cross: Array,
) -> tuple[Array, Array]:
    """The derivatives by ``mean`` and ``var`` of a number, from those by what comes out.

    Args:
        c, mean, var: as of :func:`forward`.
        by_next_mean, by_next_var, by_cross: ``(B, D)``, ``(B, D, D)`` and ``(B, E, D)``.

    Returns:
        ``(B, E)`` and ``(B, E, E)``.
    """
    n, forms = c.beta.shape[1], len(c.offsets)
    rows = max(ROWS, -(-n // (_BLOCKS * 8)) * 8)
    by_mean, by_var = np.empty(mean.shape), np.empty(var.shape)

    def run(first: int, last: int, threads: int = 1) -> None:
        some = slice(first, last)
        batch = last - first
        given = mean[some], var[some], by_next_mean[some], by_next_var[some], by_cross[some]
        t, g = Terms.empty(c, batch), Gradients.empty(c, batch, -(-n // rows))
        out = by_mean[some], by_var[some]
        if threads == 1:
            _backward(c, *given, rows, t, g, *out)
        else:
            terms(c, *given[:2], t)
            by_moments(0, batch, c, given[1], *given[3:], t, g)
            _share(threads, _work(c, rows), lambda i, j: by_pairs(i, j, c, rows, t, g))
            alike = np.arange(batch * forms)
            _share(threads, alike, lambda i, j: by_forms(i, j, c, given[2], t, g))
            by_beliefs(0, batch, c, *given[2:4], t, g, *out)

    _run(c, len(mean), run)
    return by_mean, by_var


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
    cross: Array,
) -> None:
    """Beliefs ``first`` to ``last``: ``x' = x + Δ`` (Eqs. 10-12), with ``noise`` ``(D, D)``."""
    outputs = len(c.beta)
    size = len(c.columns)
    for b in range(first, last):
        gain = cross[b]
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


@kernel
def _forward(
    c: Layout,
    mean: Array,
    var: Array,
    noise: Array,
    t: Terms,
    sums: Array,
    next_mean: Array,
    next_var: Array,
    cross: Array,
) -> None:
    terms(c, mean, var, t)
    pair_sums(0, sums.shape[1] * sums.shape[2], c, t, sums)
    next_beliefs(0, len(mean), c, mean, var, noise, t, sums, next_mean, next_var, cross)


@kernel
def _backward(
    c: Layout,
    mean: Array,
    var: Array,
    by_next_mean: Array,
    by_next_var: Array,
    by_cross: Array,
    rows: int,
    t: Terms,
    g: Gradients,
    by_mean: Array,
    by_var: Array,
) -> None:
    terms(c, mean, var, t)
    by_moments(0, len(mean), c, var, by_next_var, by_cross, t, g)
    by_pairs(0, g.along_columns.shape[1] * g.along_columns.shape[2], c, rows, t, g)
    by_forms(0, len(mean) * len(c.offsets), c, by_next_mean, t, g)
    by_beliefs(0, len(mean), c, by_next_mean, by_next_var, t, g, by_mean, by_var)


@kernel
def terms(c: Layout, mean: Array, var: Array, t: Terms) -> None:
    batch, (outputs, n) = len(mean), c.beta.shape
    matrices(0, batch, c, mean, var, t)
    forms_at_points(0, batch * len(c.offsets), c, t)
    rooted(0, outputs * -(-n // ROWS), c, t)


def _run(c: Layout, batch: int, run: Callable[..., None]) -> None:
    """``run`` of all beliefs, on one thread or on as many as torch has."""
    (size, n), outputs, pairs = c.columns.shape, len(c.beta), len(c.left_weight)
    work = batch * (pairs - 0.5 * outputs) * n * n
    threads = torch.get_num_threads() if work > _FEWEST else 1
    if batch < threads:
        for belief in range(batch):
            run(belief, belief + 1, threads)
        return
    most = max(1, _NUMBERS // (n * (3 * outputs + size + pairs * (4 + 2 * _BLOCKS))))
    bounds = [batch * k // threads for k in range(threads + 1)]

    def share(first: int, last: int) -> None:
        for begin in range(first, last, most):
            run(begin, min(last, begin + most))

    _at_once([partial(share, *bounds[k : k + 2]) for k in range(threads)])


def _share(threads: int, work: Array, run: Callable[[int, int], None]) -> None:
    """``run`` of all items, each thread with its share of work: what there is before each item."""
    last = len(work)
    bounds = [0, *np.searchsorted(work, work[-1] * np.arange(1, threads) / threads).tolist(), last]
    _at_once([partial(run, *bounds[k : k + 2]) for k in range(threads)])


def _work(c: Layout, rows: int) -> Array:
    """How many pairs of points come before each item of the sums over pairs."""
    outputs, n = c.beta.shape
    first = np.arange(0, n, rows)
    last = np.minimum(first + rows, n)
    half, whole = (last - first) * (n - 0.5 * (first + last)), (last - first) * n
    each = np.concatenate([np.tile(half, outputs), np.tile(whole, len(c.left_weight) - outputs)])
    return np.concatenate([np.zeros(1), each.cumsum()[:-1]])


def _at_once(works: Sequence[Callable[[], None]]) -> None:
    """Each on a thread of its own, the first on this one: compiled functions let Python go on."""
    others = [_pool(len(works) - 1).submit(work) for work in works[1:]]
    works[0]()
    for other in others:
        other.result()


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
