from __future__ import annotations

import numpy as np
import pytest
import torch

from imagine_cli.belief import Belief, joint
from imagine_cli.errors import InputError
from imagine_cli.policies import LinearPolicy
from imagine_cli.policies.squash import squash_sin
from tests.helpers.policy_envs import box_env, discrete_env

W = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, 0.3]], dtype=torch.float64)
B = torch.tensor([0.1, -0.2], dtype=torch.float64)
M = torch.tensor([2.0, 0.5], dtype=torch.float64)


def belief(*batch: int, scale: float = 1.0) -> Belief:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(*batch, 3, 3, dtype=torch.float64, generator=generator)
    mean = torch.randn(*batch, 3, dtype=torch.float64, generator=generator)
    return Belief(mean, scale * root @ root.mT)


def test_closed_form() -> None:
    x = belief(4)
    action = LinearPolicy(W, B)(x)
    assert action.var is not None
    assert action.cross_covariance is not None
    for k in range(4):
        mean, var = x.mean[k].numpy(), x.var[k].numpy()
        w = W.numpy()
        np.testing.assert_allclose(action.mean[k].detach(), w @ mean + B.numpy(), rtol=1e-14)
        np.testing.assert_allclose(action.var[k].detach(), w @ var @ w.T, rtol=1e-13)
        np.testing.assert_array_equal(action.cross_covariance[k].detach(), w.T)
    assert torch.equal(action.var, action.var.mT)


def test_the_joint_belief_is_that_of_the_linear_map() -> None:
    x = belief(2)
    both = joint(x, LinearPolicy(W, B)(x))
    stacked = torch.cat([torch.eye(3, dtype=torch.float64), W])
    torch.testing.assert_close(both.var, stacked @ x.var @ stacked.mT, rtol=1e-13, atol=1e-13)


def test_squashed() -> None:
    x = belief(4)
    plain, squashed = LinearPolicy(W, B)(x), LinearPolicy(W, B, M)(x)
    assert plain.var is not None
    want = squash_sin(plain.mean, plain.var, M)
    torch.testing.assert_close(squashed.mean, want.mean, rtol=0, atol=0)
    torch.testing.assert_close(squashed.var, want.var, rtol=0, atol=0)
    # Stein: cov[x, u] = Σ E[du/dx], and the derivative of m sin(w x + b) is m cos(w x + b) w.
    damping = torch.exp(-0.5 * plain.var.diagonal(dim1=-2, dim2=-1))
    slope = M * damping * plain.mean.cos()
    torch.testing.assert_close(
        squashed.cross_covariance, W.mT * slope[:, None, :], rtol=1e-14, atol=0
    )
    assert (squashed.mean.abs() < M).all()


def test_batches_of_any_shape_and_dtype() -> None:
    x = belief(2, 3)
    policy = LinearPolicy(W, B, M)
    whole, alone = policy(x), policy(Belief(x.mean[1, 2], x.var[1, 2]))
    for a, b in zip(whole, alone, strict=True):
        assert a is not None
        torch.testing.assert_close(a[1, 2], b, rtol=1e-14, atol=1e-15)
    single = policy(Belief(x.mean.float(), x.var.float()))
    assert all(part is not None and part.dtype == torch.float32 for part in single)


def test_gradients_at_certainty() -> None:
    x = belief(scale=0.0)
    inputs = [t.clone().requires_grad_() for t in (x.mean, x.var, W, B)]

    def act(mean: torch.Tensor, var: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> object:
        policy = LinearPolicy(W, B, M)
        return torch.func.functional_call(
            _Act(policy), {"policy.weight": w, "policy.bias": b}, (mean, var)
        )

    assert torch.autograd.gradcheck(act, inputs, atol=1e-8)


class _Act(torch.nn.Module):
    def __init__(self, policy: LinearPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, mean: torch.Tensor, var: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part for part in self.policy(Belief(mean, var)) if part is not None)


def test_config_round_trip() -> None:
    env = box_env((-2.0, -0.5), (2.0, 0.5))
    for policy in (LinearPolicy(W, B), LinearPolicy(W, B, M)):
        again = LinearPolicy.from_config(policy.config(), policy.state_dict(), env)
        for a, b in zip(policy(belief(2)), again(belief(2)), strict=True):
            assert a is not None
            assert torch.equal(a, b)
    bounded = LinearPolicy.from_config({"squash": "sin"}, policy.state_dict(), env)
    assert torch.equal(bounded.max_action, M)


@pytest.mark.parametrize(
    ("config", "env", "sentence"),
    [
        (
            {"squash": "tanh"},
            box_env((-1, -1), (1, 1)),
            r"its squash is 'tanh'; there is sin, none",
        ),
        ({"squash": "sin"}, box_env((-1, -1), (1, 2)), r"symmetric bounds, which env 'Test-v0'"),
        ({"squash": "sin", "max_action": [1.0]}, box_env((-1, -1), (1, 1)), r"has 1 numbers, but"),
        ({"squash": "sin", "max_action": [1, -1]}, box_env((-1, -1), (1, 1)), r"not a list of pos"),
        (
            {"squash": "sin", "max_action": 2.0},
            box_env((-1, -1), (1, 1)),
            r"not a list of positive",
        ),
        ({}, box_env(), r"weight has the shape \(2, 3\) where \(1, 3\) belongs"),
        ({}, discrete_env(2), r"gives continuous actions, but those of env 'Test-v0' are discrete"),
    ],
)
def test_sentences(config: dict[str, object], env: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LinearPolicy.from_config(config, {"weight": W, "bias": B}, env)  # type: ignore[arg-type]
