from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from imagine_cli.belief import Belief
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.propagation import make_propagation
from imagine_cli.rewards import RewardContext, make_reward
from imagine_cli.search.initial_policy import initial_policy
from imagine_cli.search.objective import ImaginedReturn
from imagine_cli.search.optimizers import METHODS, Found, Iteration, climb
from imagine_cli.unroll import ModelDynamics
from tests.helpers.linear_systems import linear_model
from tests.helpers.policy_envs import box_env

SIZE, ACTIONS, HORIZON = 3, 2, 15
ENV = box_env([-np.inf] * ACTIONS, [np.inf] * ACTIONS, SIZE)
WEIGHT, ACTION_WEIGHT = np.array([1.0, 2.0, 0.5]), np.array([0.3, 0.1])


def linear_quadratic() -> tuple[ImaginedReturn, np.ndarray, np.ndarray]:
    """The objective, and the belief that it begins with."""
    model = linear_model(SIZE, ACTIONS, reward=False)
    spec = "quadratic:target=0;weight=1,2,0.5;action=0.3,0.1"
    reward = make_reward(spec, RewardContext(ENV, model))
    mean, var = np.array([1.0, -0.5, 2.0]), np.diag([0.1, 0.2, 0.05])
    belief = Belief(torch.from_numpy(mean[None]), torch.from_numpy(var[None]))
    dynamics = ModelDynamics(model, make_propagation("moments", model), reward)
    return ImaginedReturn(dynamics, belief, HORIZON), mean, var


def found_by(method: str, objective: Any, policy: torch.nn.Module, **options: Any) -> Found:
    """One search alone."""
    options.setdefault("tell", lambda k, at: None)
    (found,) = climb(method, objective, [policy], **options)
    if not isinstance(found, Found):
        raise found
    return found


def cost_of(numbers: np.ndarray, model: object, mean: np.ndarray, var: np.ndarray) -> float:
    """The expected cost of ``u = W x + b``, written out."""
    a, b, q = model.transition.numpy(), model.control.numpy(), model.noise_covariance.numpy()  # type: ignore[attr-defined]
    gain, bias = np.split(numbers, [SIZE * ACTIONS])
    gain = gain.reshape(ACTIONS, SIZE)
    total = 0.0
    for _ in range(HORIZON):
        u, u_var = gain @ mean + bias, gain @ var @ gain.T
        total += ACTION_WEIGHT @ (u**2 + np.diag(u_var))
        closed = a + b @ gain
        mean = closed @ mean + b @ bias + model.offset.numpy()  # type: ignore[attr-defined]
        var = closed @ var @ closed.T + q
        total += WEIGHT @ (mean**2 + np.diag(var))
    return float(total)


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_it_finds_the_best_linear_policy_of_a_linear_quadratic_problem(method: str) -> None:
    objective, mean, var = linear_quadratic()
    policy = initial_policy("linear", ENV, objective.belief)
    told: list[Iteration] = []
    found = found_by(
        method, objective, policy, iterations=100 if method == "lbfgs" else 400,
        tell=lambda k, at: told.append(at), learning_rate=0.02,
    )  # fmt: skip
    arguments = (objective.dynamics.model, mean, var)
    starts = [np.zeros(ACTIONS * (SIZE + 1)), np.full(ACTIONS * (SIZE + 1), -0.2)]
    best = min(minimize(cost_of, x, arguments, "BFGS").fun for x in starts)
    assert found.value == pytest.approx(-best, rel=1e-3)
    numbers = torch.cat([policy.weight.flatten(), policy.bias]).detach().numpy()
    assert -cost_of(numbers, *arguments) == pytest.approx(found.value, rel=1e-9)
    assert [at.number for at in told] == list(range(len(told)))
    assert told[-1].value > told[0].value
    assert found.evaluations >= len(told)


class Scalar(torch.nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))


class Hill:
    """Of x up to 1, -√(1 + (x - 0.9)²), and beyond, where a long step gets to, a failure."""

    def __init__(self, failure: str) -> None:
        self.failure, self.failed, self.batches = failure, 0, list[int]()

    def __call__(self, policy: Scalar, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        x = parameters["x"][:, 0]
        self.batches.append(len(x))
        value = -(1.0 + (x - 0.9) ** 2).sqrt()
        if bool((x > 1.0).any()):
            self.failed += 1
            if self.failure == "ImagineError":
                raise ImagineError("it failed")
            if self.failure == "LinAlgError":
                return torch.linalg.cholesky(-torch.eye(2, dtype=x.dtype)).sum() * x
            return torch.where(x > 1.0, x.detach() * float(self.failure), value)
        return value


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("failure", ["nan", "inf", "ImagineError", "LinAlgError"])
def test_where_imagination_fails_it_turns_back(method: str, failure: str) -> None:
    hill, policy = Hill(failure), Scalar(-3.0)
    found = found_by(method, hill, policy, iterations=60, learning_rate=0.7)
    assert hill.failed > 0
    assert found.value == pytest.approx(-1.0, abs=1e-3)
    assert float(policy.x.detach()) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("failure", ["nan", "ImagineError"])
def test_searches_side_by_side_are_what_each_is_alone(method: str, failure: str) -> None:
    starts, hill = [-3.0, 0.5, 2.0, 0.9], Hill(failure)
    policies, told = [Scalar(x) for x in starts], list[tuple[int, Iteration]]()
    options: dict[str, Any] = {"iterations": 20, "learning_rate": 0.7}
    found = climb(method, hill, policies, tell=lambda *one: told.append(one), **options)
    assert hill.batches[0] == len(starts)
    for k, start in enumerate(starts):
        policy, own = Scalar(start), list[tuple[int, Iteration]]()
        (alone,) = climb(
            method, Hill(failure), [policy], tell=lambda *one, own=own: own.append(one), **options
        )
        assert [at for number, at in told if number == k] == [at for _, at in own]
        assert torch.equal(policy.x, policies[k].x)
        if start > 1.0:
            assert isinstance(found[k], ImagineError)
        else:
            assert found[k] == alone


def test_an_error_of_one_ends_all() -> None:
    def objective(policy: Scalar, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        climb("adam", objective, [Scalar(1.0), Scalar(2.0)], iterations=2, tell=print)


def test_a_policy_that_cant_be_imagined_at_all_is_said() -> None:
    with pytest.raises(ImagineError, match="begins with failed: it is not finite; a shorter"):
        found_by("lbfgs", lambda _, p: p["x"][:, 0] * float("nan"), Scalar(1.0), iterations=2)
    with pytest.raises(InputError, match="have no derivatives by the action"):
        found_by("adam", lambda *_: torch.tensor([1.0]), Scalar(1.0), iterations=2)
