from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from imagine_cli.belief import Belief
from imagine_cli.errors import InputError
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.propagation import make_propagation
from imagine_cli.rewards import RewardContext, make_reward
from imagine_cli.search.initial_policy import initial_policy
from imagine_cli.search.objective import ImaginedReturn
from imagine_cli.unroll import ModelDynamics
from tests.helpers.linear_systems import linear_model
from tests.helpers.policy_envs import box_env
from tests.helpers.worlds import small_gp

ENV = box_env(observation_size=2)
BELIEFS = Belief(
    torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64),
    torch.tensor([[[0.05, 0.01], [0.01, 0.02]], [[0.0, 0.0], [0.0, 0.1]]], dtype=torch.float64),
)
PROPAGATIONS = ["moments", "linearized", "unscented", "particles"]
REWARDS = ["saturating:target=1,0;width=0.7,2", "quadratic:target=0.5;weight=1,2;action=0.1"]


def objective(
    propagation: str, reward: str | None, *, horizon: int = 4, seed: int = 0
) -> ImaginedReturn:
    model = small_gp(2, 1)
    made = None if reward is None else make_reward(reward, RewardContext(ENV, model))
    parameters = {"particles": 20} if propagation == "particles" else {}
    how = make_propagation(propagation, model, **parameters)
    return ImaginedReturn(ModelDynamics(model, how, made), BELIEFS, horizon, seed)


def policy_of(spec: str, seed: int = 0) -> ParametricPolicy:
    return initial_policy(spec, ENV, BELIEFS, seed=seed)


def slopes(returns: ImaginedReturn, policy: ParametricPolicy) -> tuple[float, float]:
    """dJ along a random direction, by autograd and by central differences of order four."""
    parameters = list(policy.parameters())
    theta = parameters_to_vector(parameters).detach()
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(len(theta), generator=generator, dtype=torch.float64)
    v = v / v.norm()
    gradient = parameters_to_vector(torch.autograd.grad(returns(policy), parameters))

    def at(h: float) -> float:
        vector_to_parameters(theta + h * v, parameters)
        return float(returns(policy).detach())

    h = 1e-3
    by_differences = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return float(gradient @ v), by_differences


@pytest.mark.parametrize("policy", ["linear", "rbf:5", "mlp:4"])
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_its_gradient_is_that_of_finite_differences(
    propagation: str, reward: str, policy: str
) -> None:
    gradient, by_differences = slopes(objective(propagation, reward), policy_of(policy))
    assert gradient == pytest.approx(by_differences, rel=1e-6)


def test_particles_agree_with_the_moments_of_a_linear_model_within_their_error() -> None:
    model = linear_model(2, 1, reward=False)
    reward = make_reward(REWARDS[1], RewardContext(ENV, model))
    policy = policy_of("linear")
    policy.max_action = None  # so that all is linear and Gaussian, and moments exact

    def value(name: str, seed: int = 0, **parameters: int) -> float:
        dynamics = ModelDynamics(model, make_propagation(name, model, **parameters), reward)
        return float(ImaginedReturn(dynamics, BELIEFS, 3, seed)(policy).detach())

    drawn = torch.tensor([value("particles", seed, particles=500) for seed in range(20)])
    error = float(drawn.std()) / len(drawn) ** 0.5
    assert abs(float(drawn.mean()) - value("moments")) < 4 * error
    assert value("particles", 1, particles=500) == drawn[1]


def test_rewards_after_the_end_of_a_particles_episode_dont_count() -> None:
    returns = objective("particles", REWARDS[0], horizon=6)
    policy = policy_of("linear")
    reward = returns.dynamics.reward
    assert reward is not None
    whole = float(returns(policy).detach())
    reward.ended = lambda x, u, x_next: torch.ones(len(x), dtype=torch.bool)  # type: ignore[method-assign]
    first = float(returns(policy).detach())
    returns.horizon = 1
    assert first == float(returns(policy).detach()) < whole


@pytest.mark.parametrize("spec", ["linear", "rbf:7", "mlp:8,8"])
def test_a_policy_at_points_acts_as_on_beliefs_without_variance(spec: str) -> None:
    policy = policy_of(spec)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    on_beliefs = policy(Belief(x, torch.zeros(5, 2, 2, dtype=torch.float64))).mean
    torch.testing.assert_close(policy.at(x), on_beliefs, rtol=1e-12, atol=1e-14)


def test_without_a_reward_one_sentence_says_what_to_give() -> None:
    with pytest.raises(InputError, match="nothing to maximise; give --reward, such as saturating"):
        objective("moments", None)
