"""The step of policy, Gaussian process and reward in one, against the three apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.errors import ImagineError
from imagine_cli.propagation import make_propagation
from imagine_cli.rewards import RewardContext, make_reward
from imagine_cli.search import closed_loop
from imagine_cli.search.closed_loop import ClosedLoop
from imagine_cli.search.initial_policy import initial_policy
from imagine_cli.search.objective import ImaginedReturn
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models.model_error import ModelError
from tests.helpers.policy_envs import box_env
from tests.helpers.worlds import small_gp

pytestmark = pytest.mark.long  # a minute of compiling, where none is kept

Parameters = dict[str, Tensor]


def problem(
    actions: int = 1,
    bounded: bool = True,
    *,
    policies: int = 2,
    spec: str = "rbf:5",
    reward: str = "saturating:target=1,0;width=0.7,2",
    propagation: str = "moments",
    compiled: bool = True,
    error: bool = False,
) -> tuple[ImaginedReturn, Any, Parameters]:
    """J, a policy, and the parameters of some."""
    model = small_gp(2, actions)
    if error:
        model.model_error = ModelError([0.6, 0.2], 0.8, [[1.0, -0.7], [-0.7, 1.0]])
    if compiled:
        model.compile()
    bound = [2.0] * actions if bounded else [np.inf] * actions
    env = box_env([-b for b in bound], bound, 2)
    mean = torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64)
    var = torch.tensor([[[0.05, 0.01], [0.01, 0.02]], [[0.0, 0.0], [0.0, 0.1]]]).double()
    belief = Belief(mean, var)
    made = make_reward(reward, RewardContext(env, model))
    dynamics = ModelDynamics(model, make_propagation(propagation, model), made)
    several = [initial_policy(spec, env, belief, restart=k) for k in range(policies)]
    named = [dict(policy.named_parameters()) for policy in several]
    parameters = {name: torch.stack([one[name].detach() for one in named]) for name in named[0]}
    return ImaginedReturn(dynamics, belief, 4), several[0], parameters


def value_and_gradient(
    objective: ImaginedReturn, policy: Any, parameters: Parameters
) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: part.clone().requires_grad_() for name, part in parameters.items()}
    value = objective(policy, leaves)
    return value.detach(), list(torch.autograd.grad(value.sum(), list(leaves.values())))


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("actions", [1, 2])
def test_it_is_what_the_parts_are_apart(
    actions: int, bounded: bool, error: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = problem(actions, bounded, error=error)
    value, gradient = value_and_gradient(*given)
    monkeypatch.setattr(ClosedLoop, "of", lambda *_: None)
    wanted, by_parts = value_and_gradient(*given)
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, by_parts, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("actions", [1, 2])
def test_its_gradient_is_that_of_finite_differences(actions: int, error: bool) -> None:
    objective, policy, parameters = problem(actions, error=error)
    _, gradient = value_and_gradient(objective, policy, parameters)
    for slope, (name, part) in zip(gradient, parameters.items(), strict=True):
        v = torch.randn(part.shape, generator=torch.Generator().manual_seed(3)).double()

        def at(h: float, name: str = name, v: Tensor = v) -> float:
            moved = {**parameters, name: parameters[name] + h * v}
            return float(objective(policy, moved).sum())

        h = 1e-3
        by_differences = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        assert float((slope * v).sum()) == pytest.approx(by_differences, rel=1e-6)


def test_a_policy_has_the_same_bits_in_any_batch() -> None:
    objective, policy, parameters = problem(policies=3)
    values, gradients = value_and_gradient(objective, policy, parameters)
    for k in range(3):
        own = {name: part[k : k + 1] for name, part in parameters.items()}
        value, gradient = value_and_gradient(objective, policy, own)
        assert torch.equal(value[0], values[k])
        assert all(
            torch.equal(one[0], all[k]) for one, all in zip(gradient, gradients, strict=True)
        )


@pytest.mark.parametrize("error", [False, True])
def test_a_step_that_must_be_repaired_goes_by_the_parts(
    error: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = problem(error=error)
    value, gradient = value_and_gradient(*given)
    apply = closed_loop._Step.apply
    monkeypatch.setattr(closed_loop._Step, "apply", lambda *given: (*apply(*given)[:4], False))
    wanted, by_parts = value_and_gradient(*given)
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, by_parts, rtol=1e-10, atol=1e-12)


def test_what_is_no_covariance_is_an_error() -> None:
    objective, policy, parameters = problem()
    parameters["weights"].fill_(float("nan"))
    with pytest.raises(ImagineError, match="the covariance of belief 0 .* is not positive semi"):
        objective(policy, parameters)


@pytest.mark.parametrize(
    "other",
    [{"spec": "linear"}, {"reward": "quadratic:target=0"}, {"propagation": "linearized"},
     {"compiled": False}],
)  # fmt: skip
def test_others_have_none(other: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    of = ClosedLoop.of
    monkeypatch.setattr(ClosedLoop, "of", lambda *given: made.append(of(*given)))
    objective, policy, parameters = problem(**other)
    objective(policy, parameters)
    assert made == [None]
