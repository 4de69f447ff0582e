from __future__ import annotations

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
from imagine_cli.search.optimizers import Iteration, adam, lbfgs
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
    if method == "lbfgs":
        found = lbfgs(objective, policy, iterations=100, tell=told.append)
    else:
        found = adam(objective, policy, iterations=400, tell=told.append, learning_rate=0.02)
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


@pytest.mark.parametrize("climb", [lbfgs, adam])
@pytest.mark.parametrize("failure", ["nan", "inf", "ImagineError", "LinAlgError"])
def test_where_imagination_fails_it_turns_back(climb: object, failure: str) -> None:
    failed = 0

    def objective(policy: Scalar) -> torch.Tensor:
        nonlocal failed
        x = policy.x[0]
        if float(x.detach()) > 1.0:  # beyond the optimum at 0.9, and where a long step gets to
            failed += 1
            if failure == "ImagineError":
                raise ImagineError("it failed")
            if failure == "LinAlgError":
                return torch.linalg.cholesky(-x * torch.eye(2, dtype=x.dtype)).sum()
            return x * float(failure)
        return -(1.0 + (x - 0.9) ** 2).sqrt()

    policy = Scalar(-3.0)
    found = climb(objective, policy, iterations=60, tell=lambda at: None, learning_rate=0.7)  # type: ignore[operator]
    assert failed > 0
    assert found.value == pytest.approx(-1.0, abs=1e-3)
    assert float(policy.x.detach()) == pytest.approx(0.9, abs=0.03)


def test_a_policy_that_cant_be_imagined_at_all_is_said() -> None:
    with pytest.raises(ImagineError, match="begins with failed: it is not finite; a shorter"):
        lbfgs(lambda p: p.x.sum() * float("nan"), Scalar(1.0), iterations=2, tell=print)
    with pytest.raises(InputError, match="have no derivatives by the action"):
        adam(lambda p: torch.tensor(1.0), Scalar(1.0), iterations=2, tell=print)
