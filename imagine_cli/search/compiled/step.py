"""One imagined step of policy, Gaussian processes and reward, and its derivative."""

from __future__ import annotations

import numpy as np

from imagine_cli.policies.compiled.rbf import Policies, rbf, rbf_gradient
from imagine_cli.rewards.compiled.saturating import Saturating, saturating
from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array, Gradients, Layout, Terms
from imagine_cli.world_models.gp.compiled.model_error import (
    Carried,
    Error,
    carry,
    carry_gradient,
)
from imagine_cli.world_models.gp.compiled.moment_gradient import (
    by_beliefs,
    by_forms,
    by_moments,
    by_pairs,
    sums_of_pairs,
)
from imagine_cli.world_models.gp.compiled.moment_matching import next_beliefs, terms
from imagine_cli.world_models.gp.compiled.moment_terms import invert

_SLACK = np.finfo(np.float64).eps ** 0.5


@kernel
def forward(
    c: Layout,
    p: Policies,
    r: Saturating,
    e: Error,
    noise: Array,
    mean: Array,
    var: Array,
    error: Array,
    joint_mean: Array,
    joint_var: Array,
    cross: Array,
    t: Terms,
    g: Gradients,
    carried: Carried,
    next_mean: Array,
    next_var: Array,
    next_error: Array,
    reward: Array,
    sound: Array,
) -> None:
    """The step of beliefs ``(B, D)``, ``(B, D, D)``, those of each of the R policies in a row.

    Args:
        error: the covariance with the model's error, ``(B, D, D)`` where it has any.
        joint_mean, joint_var, cross, t, g, carried: for :func:`backward`; the belief over
            observation and action ``(B, E)``, ``(B, E, E)``, and ``Σ⁻¹ cov[x, u]`` ``(B, D, F)``.
        next_mean, next_var, next_error, reward: what comes out, ``(B, D)``, ``(B, D, D)`` twice and
            ``(B,)``.
        sound: whether the next covariance is one, ``(B,)``.
    """
    batch, size = mean.shape
    each = batch // len(p.centers)
    n = c.beta.shape[1]
    for b in range(batch):
        u, u_var = joint_mean[b, size:], joint_var[b, size:, size:]
        rbf(mean[b], var[b], p, b // each, u, u_var, cross[b])
        joint_mean[b, :size] = mean[b]
        joint_var[b, :size, :size] = var[b]
        for i in range(size):
            for f in range(len(u)):
                entry = 0.0
                for k in range(size):
                    entry += var[b, i, k] * cross[b, k, f]
                joint_var[b, i, size + f] = joint_var[b, size + f, i] = entry
    sums = np.empty((batch, len(c.left_weight), 1))
    gain = np.empty((batch, len(c.columns), size))
    terms(c, joint_mean, joint_var, t)
    by_pairs(0, len(c.left_weight), c, n, t, g)
    sums_of_pairs(c, t, g, sums)
    next_beliefs(0, batch, c, joint_mean, joint_var, noise, t, sums, next_mean, next_var, gain)
    unused, other = np.empty(size), np.empty((size, size))
    root = np.zeros((size, size))
    for b in range(batch):
        if len(e.share):
            carry(
                b, e, gain[b], joint_var[b], cross[b], error[b], carried, next_var[b], next_error[b]
            )
        reward[b] = saturating(next_mean[b], next_var[b], r, 0.0, unused, other)
        slack = np.finfo(np.float64).tiny
        for k in range(size):
            slack = max(slack, _SLACK * abs(next_var[b, k, k]))
        sound[b] = np.isfinite(invert(next_var[b] / slack, root, other))


@kernel
def backward(
    c: Layout,
    p: Policies,
    r: Saturating,
    e: Error,
    mean: Array,
    var: Array,
    error: Array,
    joint_var: Array,
    cross: Array,
    t: Terms,
    g: Gradients,
    carried: Carried,
    next_mean: Array,
    next_var: Array,
    by_next_mean: Array,
    by_next_var: Array,
    by_reward: Array,
    by_next_error: Array,
    by_mean: Array,
    by_var: Array,
    by_error: Array,
    by: Policies,
) -> None:
    """From derivatives by what :func:`forward` gives, which it changes, to those by what it takes.

    Args:
        by_mean, by_var, by_error, by: zeros, to which they are added.
    """
    batch, size = mean.shape
    each, joined = batch // len(p.centers), joint_var.shape[1]
    for b in range(batch):
        by_next = by_next_mean[b], by_next_var[b]
        saturating(next_mean[b], next_var[b], r, by_reward[b], by_next[0], by_next[1])
    by_joint_mean, by_joint_var = np.empty((batch, joined)), np.empty(joint_var.shape)
    by_gain, by_carried = np.zeros((batch, joined, size)), np.zeros((batch, joined, joined))
    by_cross = np.zeros(cross.shape)
    for b in range(batch if len(e.share) else 0):
        carry_gradient(
            b, e, joint_var[b], cross[b], error[b], carried, by_next_var[b], by_next_error[b],
            by_gain[b], by_carried[b], by_cross[b], by_error[b],
        )  # fmt: skip
    by_moments(0, batch, c, joint_var, by_next_var, by_gain, t, g)
    by_forms(0, batch * len(c.offsets), c, by_next_mean, t, g)
    by_beliefs(0, batch, c, by_next_mean, by_next_var, t, g, by_joint_mean, by_joint_var)
    by_joint_var += by_carried
    for b in range(batch):
        by_mean[b] += by_joint_mean[b, :size]
        by_var[b] += by_joint_var[b, :size, :size]
        for i in range(size):
            for f in range(joined - size):
                both = by_joint_var[b, i, size + f] + by_joint_var[b, size + f, i]
                for k in range(size):
                    by_var[b, i, k] += both * cross[b, k, f]
                    by_cross[b, k, f] += both * var[b, i, k]
        by_u, by_u_var = by_joint_mean[b, size:], by_joint_var[b, size:, size:]
        rbf_gradient(
            mean[b], var[b], p, b // each, by_u, by_u_var, by_cross[b], by_mean[b], by_var[b], by
        )
