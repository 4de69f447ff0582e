"""Means and variances of rewards on beliefs, against sampling, integration and differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.rewards import QuadraticReward, Reads, Reward, RewardMoments, SaturatingReward
from imagine_cli.world_models.interfaces import Prediction

D, F = 3, 2
tensor = partial(torch.tensor, dtype=torch.float64)


def belief(seed: int, size: int = D, scale: float = 0.6, *batch: int) -> Belief:
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    root = scale * draw(*batch, size, size)
    return Belief(draw(*batch, size), root @ root.mT)


def saturating() -> SaturatingReward:
    return SaturatingReward(tensor([0.5, -1.0, 0.2]), tensor([0.7, float("inf"), 1.5]))


def quadratic() -> QuadraticReward:
    return QuadraticReward(tensor([0.5, -1.0, 0.2]), tensor([1.0, 0.0, 2.5]), tensor([0.1, 0.7]))


REWARDS = [saturating, quadratic]


def moments(reward: Reward, x_next: Belief, u: ActionBelief) -> RewardMoments:
    return reward.moments(x_next, u, Prediction(*x_next))


@pytest.mark.parametrize("make", REWARDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moments_are_monte_carlos(make: type[Reward], seed: int) -> None:
    reward, x_next, action = make(), belief(seed), belief(seed + 10, F)
    found = moments(reward, x_next, ActionBelief(action.mean, action.var))
    count = 200_000
    generator = torch.Generator().manual_seed(seed)

    def draw(of: Belief) -> Tensor:
        noise = torch.randn(count, len(of.mean), generator=generator, dtype=torch.float64)
        return of.mean + noise @ torch.linalg.cholesky(of.var).mT

    values = reward(torch.zeros(count, D), draw(action), draw(x_next))
    squares = (values - values.mean()).square()
    for expected, samples in zip(found, (values, squares), strict=True):
        standard_error = float(samples.std()) / count**0.5
        assert abs(float(expected) - float(samples.mean())) < 4.0 * standard_error


@pytest.mark.parametrize("spread", [1e-8, 1e-3, 0.5, 30.0])
def test_saturating_moments_are_integrals(spread: float) -> None:
    reward = SaturatingReward(tensor([0.3]), tensor([0.8]))
    found = moments(reward, Belief(tensor([1.1]), tensor([[spread]])), ActionBelief(tensor([0.0])))
    # The trapezoidal rule, which converges faster than any power for a Gaussian.
    deviations = np.linspace(-12.0, 12.0, 24_001)
    density = 0.001 * np.exp(-0.5 * deviations**2) / np.sqrt(2.0 * np.pi)
    x = 1.1 + spread**0.5 * deviations
    r = np.exp(-0.5 * ((x - 0.3) / 0.8) ** 2)
    mean = float(density @ r)
    assert float(found.mean) == pytest.approx(mean, rel=1e-10)
    assert float(found.var) == pytest.approx(float(density @ (r - mean) ** 2), rel=1e-6)


@pytest.mark.parametrize("make", REWARDS)
def test_gradients_of_points_and_moments_are_finite_differences(make: type[Reward]) -> None:
    reward, x_next, action = make(), belief(0), belief(1, F)

    def of_moments(mean: Tensor, root: Tensor, u: Tensor, var: Tensor) -> RewardMoments:
        return moments(reward, Belief(mean, root @ root.mT), ActionBelief(u, var))

    root = torch.linalg.cholesky(x_next.var)
    inputs = [part.clone().requires_grad_() for part in (x_next.mean, root, *action)]
    assert torch.autograd.gradcheck(of_moments, inputs)
    points = [belief(k, size, 1.0, 4).mean.requires_grad_() for k, size in ((2, D), (3, F), (4, D))]
    assert torch.autograd.gradcheck(reward.at, points)


@pytest.mark.parametrize("make", REWARDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_certain_belief_has_the_reward_of_its_point(
    make: type[Reward], dtype: torch.dtype
) -> None:
    reward = make()
    mean, u = belief(0).mean.to(dtype).requires_grad_(), belief(1, F).mean.to(dtype)
    found = moments(reward, point(mean), ActionBelief(u))
    assert found.mean.dtype == dtype
    torch.testing.assert_close(found.mean, reward(mean, u, mean))
    assert found.var.item() == 0.0
    (slope,) = torch.autograd.grad(found.mean + found.var, mean)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("make", REWARDS)
def test_bits_do_not_depend_on_the_batch(make: type[Reward]) -> None:
    reward, x_next, action = make(), belief(0, D, 0.6, 7, 3), belief(1, F, 0.6, 7, 3)
    together = moments(reward, x_next, ActionBelief(action.mean, action.var))
    for k in range(7):
        u = ActionBelief(action.mean[k], action.var[k])
        alone = moments(reward, Belief(x_next.mean[k], x_next.var[k]), u)
        assert torch.equal(together.mean[k], alone.mean)
        assert torch.equal(together.var[k], alone.var)


class Product(Reward):
    """``x₀ u₀ - 2 x₁ + x'₂²``: quadratic, and of all three."""

    reads = Reads((0, 1), (0,), (2,))

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return x[..., 0] * u[..., 0] - 2.0 * x[..., 1] + x_next[..., 2].square()


def test_sigma_points_have_the_mean_of_a_quadratic_and_the_variance_of_what_is_linear() -> None:
    x, x_next, action = belief(0), belief(1), belief(2, F)
    cross = 0.1 * belief(3, D).var[:, :F]
    u = ActionBelief(action.mean, action.var + 2.0 * torch.eye(F), cross)
    found = Reward.moments(Product(), x, u, Prediction(*x_next))
    with_u = (x.var @ cross)[0, 0]
    mean = x.mean[0] * u.mean[0] + with_u - 2.0 * x.mean[1]
    mean = mean + x_next.mean[2] ** 2 + x_next.var[2, 2]
    torch.testing.assert_close(found.mean, mean)
    linear = QuadraticReward(torch.zeros(D), torch.zeros(D), torch.zeros(F))
    linear.at = lambda x, u, x_next: 3.0 * x_next[..., 1] - u[..., 0]  # type: ignore[method-assign]
    found = Reward.moments(linear, x, u, Prediction(*x_next))
    assert u.var is not None
    torch.testing.assert_close(found.var, 9.0 * x_next.var[1, 1] + u.var[0, 0])


def test_sigma_points_of_rewards_with_a_closed_form_are_near_it_where_beliefs_are_narrow() -> None:
    x_next, u = belief(0, D, 0.05), ActionBelief(belief(1, F).mean)
    for reward in (saturating(), quadratic()):
        exact = moments(reward, x_next, u)
        found = Reward.moments(reward, x_next, u, Prediction(*x_next))
        torch.testing.assert_close(found.mean, exact.mean, rtol=1e-4, atol=0.0)
        torch.testing.assert_close(found.var, exact.var, rtol=2e-2, atol=0.0)
