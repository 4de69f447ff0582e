from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli.belief import Belief, point
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies import MLPPolicy
from tests.helpers.policy_envs import INF, box_env, discrete_env

UNEVEN = box_env((-1.0, 0.0), (2.0, 0.5))


def network(env: EnvDescription, **options: Any) -> MLPPolicy:
    torch.manual_seed(0)
    policy = MLPPolicy(env, hidden=[8, 5], **options)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter)
    return policy


@pytest.mark.parametrize(("activation", "f"), [("tanh", np.tanh), ("relu", lambda x: x * (x > 0))])
def test_as_written_out_in_numpy(activation: str, f: Any) -> None:
    policy = network(UNEVEN, activation=activation)
    x = np.random.default_rng(0).normal(size=(7, 3))
    value = x
    state = {name: tensor.numpy() for name, tensor in policy.state_dict().items()}
    for k in range(3):
        value = value @ state[f"layers.{k}.weight"].T + state[f"layers.{k}.bias"]
        value = f(value) if k < 2 else value
    want = UNEVEN.action_low + (UNEVEN.action_high - UNEVEN.action_low) * (1 + np.tanh(value)) / 2
    action = policy(point(torch.as_tensor(x)))
    np.testing.assert_allclose(action.mean.detach(), want, rtol=1e-13)
    assert action.var is not None
    np.testing.assert_array_equal(action.var.detach(), 0.0)
    assert policy.gives_variance
    np.testing.assert_allclose(policy.at(torch.as_tensor(x)).detach(), want, rtol=1e-13)
    plain = network(UNEVEN, activation=activation, squash="none")(point(torch.as_tensor(x)))
    np.testing.assert_allclose(plain.mean.detach(), value, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("squash", ["tanh", "none"])
def test_a_belief_goes_through_its_derivative(activation: str, squash: str) -> None:
    policy = network(UNEVEN, activation=activation, squash=squash)
    generator = torch.Generator().manual_seed(0)
    mean, root = (torch.randn(4, *shape, generator=generator).double() for shape in [(3,), (3, 3)])
    var = root @ root.mT
    action = policy(Belief(mean, var))
    for k in range(4):
        slope = torch.autograd.functional.jacobian(
            lambda x: policy.at(x.unsqueeze(0))[0], mean[k]
        ).detach()
        torch.testing.assert_close(action.var[k], slope @ var[k] @ slope.T, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(action.cross_covariance[k], slope.T, rtol=1e-12, atol=1e-14)


def test_it_stays_within_bounds() -> None:
    mean = 1e3 * torch.randn(
        100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    policy = network(UNEVEN, activation="relu")
    action = policy(point(mean)).mean
    assert (action >= policy.low).all()
    assert (action <= policy.high).all()
    assert (action == policy.low).any()
    assert (action == policy.high).any()


def test_discrete_takes_the_largest_of_each_choice() -> None:
    env = discrete_env(2, 3)
    policy = network(env)
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    action = policy(point(x)).mean
    free = network(box_env([-INF] * 5, [INF] * 5), squash="none")(point(x)).mean.detach()
    assert action.dtype == torch.float64
    assert not policy.gives_variance
    np.testing.assert_array_equal(action[:, :2].argmax(1), free[:, :2].argmax(1))
    np.testing.assert_array_equal(action[:, 2:].argmax(1), free[:, 2:].argmax(1))
    np.testing.assert_array_equal(action.sum(1), 2.0)
    assert len(torch.unique(action, dim=0)) > 2


def test_gradients_reach_parameters_and_belief() -> None:
    policy = network(UNEVEN)
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda m: policy(point(m)).mean, x.requires_grad_())
    policy(point(x)).mean.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


def test_belief_of_another_dtype() -> None:
    action = network(UNEVEN)(point(torch.zeros(2, 3)))
    assert action.mean.dtype == torch.float32


@pytest.mark.parametrize("env", [UNEVEN, discrete_env(2, 3)])
def test_config_round_trip(env: EnvDescription) -> None:
    policy = network(env, activation="relu")
    again = MLPPolicy.from_config(policy.config(), policy.state_dict(), env)
    x = point(torch.ones(2, 3, dtype=torch.float64))
    assert torch.equal(policy(x).mean, again(x).mean)


def test_no_hidden_layers() -> None:
    policy = MLPPolicy(UNEVEN, hidden=[])
    again = MLPPolicy.from_config(policy.config(), policy.state_dict(), UNEVEN)
    assert len(again.layers) == 1


@pytest.mark.parametrize(
    ("change", "env", "sentence"),
    [
        ({"hidden": None}, UNEVEN, r"its hidden sizes are None, not a list of positive integers"),
        ({"hidden": [8, 0]}, UNEVEN, r"hidden sizes are \[8, 0\]"),
        ({"hidden": [8, True]}, UNEVEN, r"hidden sizes are \[8, True\]"),
        ({"hidden": [8]}, UNEVEN, r"its state has layers.0.weight, .* where layers.0.weight"),
        ({"hidden": [8, 6]}, UNEVEN, r"layers.1.weight has the shape \(5, 8\) where \(6, 8\) belo"),
        ({"hidden": [8, 10**12]}, UNEVEN, r"where \(1000000000000, 8\) belongs"),
        ({"activation": "gelu"}, UNEVEN, r"its activation is 'gelu'; there is tanh, relu"),
        ({"squash": "sin"}, UNEVEN, r"its squash is 'sin'; there is tanh, clip, none"),
        ({"squash": ["tanh"]}, UNEVEN, r"its squash is \['tanh'\]"),
        ({}, box_env(), r"layers.2.weight has the shape \(2, 5\) where \(1, 5\) belongs"),
        ({}, box_env((-INF, -1), (INF, 1)), r"into bounds, which env 'Test-v0' doesn't have"),
    ],
)
def test_sentences(change: dict[str, Any], env: EnvDescription, sentence: str) -> None:
    policy = network(UNEVEN)
    with pytest.raises(InputError, match=sentence):
        MLPPolicy.from_config({**policy.config(), **change}, policy.state_dict(), env)
