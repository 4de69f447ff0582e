"""What policies see of a belief: each particle, its moments, or with --open-loop its mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import open_rollout, run_rollout
from imagine_cli.environments import describe, make_env
from imagine_cli.policies import LinearPolicy, MLPPolicy, RBFPolicy, save_policy
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.world_models import LinearGaussianWorldModel

STEPS, PARTICLES = 30, 2000
A = np.array([[1.0, 0.1, 0.0], [0.1, 1.02, 0.0], [0.0, 0.0, 0.9]])
B = np.array([[0.0], [0.1], [0.02]])
K = np.array([[-3.0, -2.0, 0.5]])
NOISE = np.diag([1e-6, 4e-6, 1e-6])
START = np.diag([1e-2, 4e-2, 1e-2])


def stabilising() -> list[ParametricPolicy]:
    """The same gain as two kinds of policy."""
    env = describe(make_env("Pendulum-v1"))
    network = MLPPolicy(env, hidden=[], squash="none")
    with torch.no_grad():
        network.layers[0].weight.copy_(torch.tensor(K))
        network.layers[0].bias.zero_()
    return [LinearPolicy(torch.tensor(K), torch.zeros(1).double()), network]


def imagined(
    folder: Path, policy: ParametricPolicy, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    model = LinearGaussianWorldModel.from_parameters(A, B, np.zeros(3), NOISE)
    env = describe(make_env("Pendulum-v1"))
    save_policy(policy, folder / "policy.pt", env=env, overwrite=True)
    output = folder / "r.h5"
    run_rollout(
        "Pendulum-v1", model, policy=str(folder / "policy.pt"), steps=STEPS, output=output,
        start="mean=0.3,0,0;var=0.01,0.04,0.01", dtype="float64", overwrite=True, **options,
    )  # fmt: skip
    with open_rollout(output) as rollout:
        has = "action/var" in rollout
        assert has != bool(options.get("open_loop"))
        return rollout.var(0), rollout.action_var(0) if has else np.zeros(0)


def closed_form(gain: np.ndarray) -> list[np.ndarray]:
    """The covariance of x' = (A + B K) x + noise."""
    covariances = [START]
    for _ in range(STEPS):
        loop = A + B @ gain
        covariances.append(loop @ covariances[-1] @ loop.T + NOISE)
    return covariances


@pytest.mark.parametrize("k", [0, 1])
def test_moments_and_particles_are_those_of_the_closed_loop(k: int, tmp_path: Path) -> None:
    policy, want = stabilising()[k], np.array(closed_form(K))
    var, action_var = imagined(tmp_path, policy)
    np.testing.assert_allclose(var, want, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(action_var, K @ want[:-1] @ K.T, rtol=1e-12)
    var, action_var = imagined(tmp_path, policy, propagation="particles", particles=PARTICLES)
    # The variance of P particles is off by sqrt(2 / P) of it, one standard error.
    sds = (np.diagonal(var, 0, 1, 2) / np.diagonal(want, 0, 1, 2) - 1) / np.sqrt(2 / PARTICLES)
    assert np.abs(sds).max() < 4.5
    # Of the very same particles; those at the start are a sample of the belief that the file has.
    acted = (K @ var[1:-1] @ K.T)[:, 0, 0]
    np.testing.assert_allclose(action_var[1:, 0, 0], acted, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"propagation": "particles", "particles": PARTICLES}])
def test_in_open_loop_the_spread_is_that_of_no_feedback(
    options: dict[str, Any], tmp_path: Path
) -> None:
    want = np.array(closed_form(0.0 * K))
    for policy in stabilising():
        var, action_var = imagined(tmp_path, policy, open_loop=True, **options)
        tolerance = 4.5 * np.sqrt(2 / PARTICLES) if options else 1e-12
        found, known = (np.diagonal(each, 0, 1, 2) for each in (var, want))
        np.testing.assert_allclose(found, known, rtol=tolerance)
        assert action_var.size == 0


def test_an_rbf_policy_acts_at_each_particle(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    centers, weights = (torch.randn(7, n, generator=generator).double() for n in (3, 1))
    policy = RBFPolicy(
        centers, weights, torch.full((3,), 0.7, dtype=torch.float64), torch.tensor([2.0])
    )
    _, action_var = imagined(
        tmp_path, policy, propagation="particles", particles=50, save_particles=True
    )
    with open_rollout(tmp_path / "r.h5") as rollout:
        x = torch.as_tensor(rollout.particles(0)[:, :-1])
        z = ((x.unsqueeze(-2) - centers) / 0.7).square().sum(-1)
        u = 2.0 * ((-0.5 * z).exp() @ weights).detach().sin()
        np.testing.assert_allclose(rollout.action_mean(0), u.mean(0), rtol=1e-9)
    np.testing.assert_allclose(action_var[:, 0], u.var(0).detach(), rtol=1e-9)
