from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from torchrl.modules.models.rbf_controller import RBFController

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies import RBFPolicy
from tests.helpers.policy_envs import INF, box_env, discrete_env

D, F, N = 3, 2, 5
M = torch.tensor([2.0, 0.5], dtype=torch.float64)


def parameters(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    centers = torch.randn(N, D, dtype=torch.float64, generator=g)
    weights = torch.randn(N, F, dtype=torch.float64, generator=g)
    return centers, weights, 0.5 + torch.rand(D, dtype=torch.float64, generator=g)


def belief(*batch: int, scale: float = 0.4, seed: int = 1) -> Belief:
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(*batch, D, D, dtype=torch.float64, generator=g)
    mean = torch.randn(*batch, D, dtype=torch.float64, generator=g)
    return Belief(mean, scale * root @ root.mT)


def values(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """v(x) before squashing, ``(S, D)`` -> ``(S, F)``, from the definition."""
    centers, weights, scales = (p.numpy() for p in parameters(seed))
    scaled = (x[:, None, :] - centers) / scales
    return np.exp(-0.5 * (scaled**2).sum(-1)) @ weights


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-6, 0.0])
def test_as_torchrls_controller_without_its_jitter(scale: float) -> None:
    policy = RBFPolicy(*parameters())
    controller = RBFController(D, F, max_action=None, n_basis=N).double()
    controller.load_state_dict(policy.state_dict())
    x = belief(6, scale=scale)
    with torch.no_grad():
        mean, var, cross = policy.before_squashing(x)
        their_mean, their_var, their_cross = controller(*x)
    jitter = 1e-6 * torch.eye(F, dtype=torch.float64)
    torch.testing.assert_close(mean, their_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cross, their_cross, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(var, their_var - jitter, rtol=1e-12, atol=1e-12)


def test_squashed_as_torchrls_controller() -> None:
    policy = RBFPolicy(*parameters(), M)
    controller = RBFController(D, F, max_action=M, n_basis=N).double()
    controller.load_state_dict(policy.state_dict())
    x = belief(4)
    with torch.no_grad():
        action, theirs = policy(x), controller(*x)
    for mine, their in zip(action, theirs, strict=True):
        # The jitter of 1e-6 moves every moment by as much, times bounds of at most 2.
        torch.testing.assert_close(mine, their, rtol=0, atol=4e-6)


def test_monte_carlo() -> None:
    x = belief()
    with torch.no_grad():
        mean, var, cross = RBFPolicy(*parameters()).before_squashing(x)
    rng = np.random.default_rng(0)
    samples = rng.multivariate_normal(x.mean.numpy(), x.var.numpy(), size=400_000)
    v = values(samples)
    within(v, mean.numpy())
    centred = v - v.mean(0)
    within(centred[:, :, None] * centred[:, None, :], var.numpy())
    apart = (samples - samples.mean(0))[:, :, None] * centred[:, None, :]
    within(apart, (x.var @ cross).numpy())


def test_squashing_takes_the_gaussian_with_the_moments_before_it() -> None:
    x = belief()
    policy = RBFPolicy(*parameters(), M)
    with torch.no_grad():
        mean, var, cross = policy.before_squashing(x)
        action = policy(x)
    both = joint(x, ActionBelief(mean, var, cross))
    rng = np.random.default_rng(0)
    samples = rng.multivariate_normal(both.mean.numpy(), both.var.numpy(), size=400_000)
    u = M.numpy() * np.sin(samples[:, D:])
    within(u, action.mean.numpy())
    centred = u - u.mean(0)
    within(centred[:, :, None] * centred[:, None, :], action.var.numpy())
    states = samples[:, :D] - samples[:, :D].mean(0)
    within(states[:, :, None] * centred[:, None, :], (x.var @ action.cross_covariance).numpy())


def within(samples: np.ndarray, value: np.ndarray) -> None:
    error = samples.std(0) / math.sqrt(len(samples))
    assert (np.abs(samples.mean(0) - value) < 4.0 * error).all()


@pytest.mark.parametrize("scale", [1e-24, 1e-10, 1e-5, 1e-1, 1e3])
def test_covariance_keeps_its_digits_at_any_scale(scale: float) -> None:
    x = belief(scale=scale)
    with torch.no_grad():
        _, got, _ = RBFPolicy(*parameters()).before_squashing(x)
    want = covariance_in_many_digits(x)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-11, atol=0.0)


def covariance_in_many_digits(x: Belief) -> np.ndarray:
    """``E[v vᵀ] - E[v] E[v]ᵀ`` by the integrals of products of Gaussians, in 80 digits."""
    with mpmath.workdps(80):
        centers, weights, scales = (mpmath.matrix(p.tolist()) for p in parameters())
        mean, var = mpmath.matrix(x.mean.tolist()), mpmath.matrix(x.var.tolist())
        var = (var + var.T) / 2
        squared = mpmath.diag([s**2 for s in scales])

        def expected(centre: mpmath.matrix, width: mpmath.matrix) -> mpmath.mpf:
            """E[exp(-½ (x - c)ᵀ W⁻¹ (x - c))]."""
            nu = centre - mean
            exponent = (nu.T * mpmath.lu_solve(var + width, nu))[0]
            return mpmath.sqrt(mpmath.det(width) / mpmath.det(var + width)) * mpmath.exp(
                -exponent / 2
            )

        rows = [centers[i, :].T for i in range(N)]
        first = [expected(c, squared) for c in rows]
        result = mpmath.matrix(F, F)
        for i in range(N):
            for j in range(N):
                apart = rows[i] - rows[j]
                distance = (apart.T * mpmath.lu_solve(squared, apart))[0]
                second = mpmath.exp(-distance / 4) * expected((rows[i] + rows[j]) / 2, squared / 2)
                result += (second - first[i] * first[j]) * weights[i, :].T * weights[j, :]
        return np.array(result.tolist(), dtype=np.float64)


def test_certainty_stays_certainty() -> None:
    x = belief(4, scale=0.0)
    action = RBFPolicy(*parameters(), M)(x)
    assert torch.equal(action.var, torch.zeros(4, F, F, dtype=torch.float64))
    want = M.numpy() * np.sin(values(x.mean.numpy()))
    np.testing.assert_allclose(action.mean.detach(), want, rtol=1e-13)
    # At certainty Σ⁻¹ cov[x, u] is the policy's own slope.
    h = 1e-6
    for d in range(D):
        step = np.zeros(D)
        step[d] = h
        up, down = (M.numpy() * np.sin(values(x.mean.numpy() + s)) for s in (step, -step))
        np.testing.assert_allclose(
            action.cross_covariance.detach()[:, d], (up - down) / (2 * h), atol=1e-8
        )


@pytest.mark.parametrize("scale", [0.0, 1e-8, 0.5])
@pytest.mark.parametrize("bounds", [None, M], ids=["plain", "squashed"])
def test_gradients(scale: float, bounds: torch.Tensor | None) -> None:
    x = belief(scale=scale)
    centers, weights, scales = parameters()
    some = (x.mean[:2], x.var[:2, :2], centers[:3, :2], weights[:3], scales[:2])
    inputs = [t.clone().requires_grad_() for t in some]

    class Act(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.policy = RBFPolicy(*some[2:], bounds)

        def forward(self, mean: torch.Tensor, var: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.policy(Belief(mean, var)))

    def act(mean: torch.Tensor, var: torch.Tensor, *rest: torch.Tensor) -> object:
        names = ("policy.centers", "policy.weights", "policy.lengthscales")
        return torch.func.functional_call(Act(), dict(zip(names, rest, strict=True)), (mean, var))

    assert torch.autograd.gradcheck(act, inputs, atol=1e-7)
    assert torch.autograd.gradgradcheck(act, inputs, atol=1e-5, fast_mode=True)


def test_covariances_are_positive_semi_definite() -> None:
    for scale in (1e-12, 1e-3, 1.0, 100.0):
        x = belief(50, scale=scale)
        with torch.no_grad():
            action = RBFPolicy(*parameters(), M)(x)
            both = joint(x, action)
        for var in (action.var, both.var):
            lowest, highest = torch.linalg.eigvalsh(var)[:, 0], torch.linalg.eigvalsh(var)[:, -1]
            assert (lowest >= -1e-14 * highest).all()


def test_beliefs_far_from_every_center_do_not_overflow() -> None:
    x = Belief(torch.full((D,), 300.0, dtype=torch.float64), torch.eye(D, dtype=torch.float64))
    inputs = [t.clone().requires_grad_() for t in x]
    parts = RBFPolicy(*parameters(), M)(Belief(*inputs))
    assert all(torch.isfinite(part).all() for part in parts)
    gradients = torch.autograd.grad(sum(part.sum() for part in parts), inputs)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_batches_of_any_shape_and_dtype() -> None:
    x = belief(2, 3)
    policy = RBFPolicy(*parameters(), M)
    whole, alone = policy(x), policy(Belief(x.mean[1, 2], x.var[1, 2]))
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a[1, 2], b, rtol=1e-12, atol=1e-14)
    single = policy(Belief(x.mean.float(), x.var.float()))
    for a, b in zip(whole, single, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a.float(), b, rtol=1e-4, atol=1e-5)


def test_the_sign_of_a_lengthscale_does_not_matter() -> None:
    centers, weights, scales = parameters()
    x = belief()
    mine, flipped = (
        RBFPolicy(centers, weights, s, M)(x)
        for s in (scales, scales * torch.tensor([1.0, -1.0, 1.0]))
    )
    for a, b in zip(mine, flipped, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "env", "sentence"),
    [
        ({"centers": torch.zeros(4, D)}, box_env((-1, -1), (1, 1)), r"4 centers and 5 weights"),
        ({"lengthscales": torch.zeros(D)}, box_env((-1, -1), (1, 1)), r"lengthscales is 0"),
        (
            {"centers": torch.full((N, D), math.nan)},
            box_env((-1, -1), (1, 1)),
            r"centers holds som",
        ),
        (
            {"weights": torch.zeros(N, F, dtype=torch.int64)},
            box_env((-1, -1), (1, 1)),
            r"floating-p",
        ),
        (
            {"more": torch.zeros(1)},
            box_env((-1, -1), (1, 1)),
            r"lengthscales, more where centers, ",
        ),
        (
            {},
            box_env((-1, -1), (1, 1), 4),
            r"centers has the shape \(5, 3\) where \(any, 4\) belong",
        ),
        ({}, box_env(), r"weights has the shape \(5, 2\) where \(any, 1\) belongs"),
        ({}, box_env((-INF, -1), (INF, 1)), r"symmetric bounds, which env 'Test-v0'"),
        ({}, box_env((0, -1), (1, 1)), r"symmetric bounds, which env 'Test-v0'"),
        ({}, discrete_env(2), r"kind 'rbf' gives continuous actions"),
    ],
)
def test_sentences(change: dict[str, torch.Tensor], env: EnvDescription, sentence: str) -> None:
    state = RBFPolicy(*parameters()).state_dict()
    with pytest.raises(InputError, match=sentence):
        RBFPolicy.from_config({}, {**state, **change}, env)
