from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imagine_cli.belief import Belief
from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.policies import LinearPolicy, MLPPolicy, RBFPolicy
from imagine_cli.policies.parametric import ParametricPolicy

PENDULUM = describe(make_env("Pendulum-v1"))


def sized(observations: int, actions: int) -> EnvDescription:
    low, high = -np.ones(actions), np.ones(actions)
    return EnvDescription(
        "Sized-v0", {}, observations, np.full(observations, -np.inf),
        np.full(observations, np.inf), [f"o{k}" for k in range(observations)], actions, low, high,
    )  # fmt: skip


def mlp(d: int, f: int, dtype: torch.dtype) -> ParametricPolicy:
    return MLPPolicy(sized(d, f), hidden=(33, 64), dtype=dtype)


def linear(d: int, f: int, dtype: torch.dtype) -> ParametricPolicy:
    return LinearPolicy(
        torch.randn(f, d, dtype=dtype), torch.randn(f, dtype=dtype), torch.ones(f, dtype=dtype)
    )


def rbf(d: int, f: int, dtype: torch.dtype) -> ParametricPolicy:
    scales = 1.0 + torch.rand(d, dtype=dtype)
    return RBFPolicy(torch.randn(21, d, dtype=dtype), torch.randn(21, f, dtype=dtype), scales)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("d", "f"), [(1, 1), (3, 1), (4, 2), (11, 3), (17, 6)])
@pytest.mark.parametrize("make", [mlp, linear, rbf])
def test_a_beliefs_action_depends_on_that_belief_alone(
    make: Callable[[int, int, torch.dtype], ParametricPolicy], d: int, f: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    policy = make(d, f, dtype)
    root = 0.3 * torch.randn(67, d, d, dtype=dtype)
    mean, var = torch.randn(67, d, dtype=dtype), root @ root.mT

    def parts(size: int) -> list[torch.Tensor]:
        acted = [policy(Belief(mean[k : k + size], var[k : k + size])) for k in range(0, 67, size)]
        return [
            torch.cat(some)
            for some in zip(*acted, strict=True)
            if isinstance(some[0], torch.Tensor)
        ]

    whole = parts(67)
    for size in (1, 2, 5, 32, 33):
        for one, other in zip(parts(size), whole, strict=True):
            assert torch.equal(one, other)
