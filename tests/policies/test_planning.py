"""Planners, against exhaustive search, the linear-quadratic regulator, and themselves alone."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from imagine_cli import run_rollout
from imagine_cli.belief import ActionBelief, point
from imagine_cli.checkpoint import load_world_model
from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.policies import make_policy
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.coloured_noise import coloured_noise
from imagine_cli.policies.planning import Planner, Search
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.recording import open_rollout
from imagine_cli.rewards import QuadraticReward, Reward, env_reward
from imagine_cli.rollout.real import real_episode
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models import LinearGaussianWorldModel, WorldModel, as_world_model
from tests.helpers.ensembles import constant_ensemble, random_ensemble
from tests.helpers.linear_systems import linear_model
from tests.helpers.policy_envs import INF, box_env, discrete_env
from tests.helpers.worlds import linear_module, small_gp

SAMPLES = Path(__file__).parents[2] / "sample_models"
PLANNERS = ("cem", "icem", "mppi")
SMALL = "horizon=4,candidates=12,iterations=2,particles=3"


def planner(
    spec: str, env: EnvDescription, model: WorldModel, reward: Reward | None, seed: int = 0
) -> Planner:
    dynamics = ModelDynamics(model, make_propagation(None, model), reward)
    made = make_policy(spec, PolicyContext(env, seed, model.dtype, "cpu", dynamics))
    assert isinstance(made, Planner)
    return made


def points(count: int, size: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=g, dtype=torch.float64)


class Bumpy(Reward):
    """Many local maxima, and an end beyond 1.5."""

    def at(self, x: torch.Tensor, u: torch.Tensor, x_next: torch.Tensor) -> torch.Tensor:
        return (torch.sin(5.0 * x_next) + 0.3 * x_next).sum(-1) + 0.1 * u[..., 0]

    def ended(self, x: torch.Tensor, u: torch.Tensor, x_next: torch.Tensor) -> torch.Tensor:
        return x_next[..., 0] > 1.5


@pytest.mark.parametrize("name", ["cem", "icem"])
@pytest.mark.parametrize("at", [-0.4, 0.3, 1.0])
def test_the_best_of_all_discrete_sequences_is_found(name: str, at: float) -> None:
    control = np.array([[-0.5, 0.2, 0.7]])
    model = LinearGaussianWorldModel.from_parameters(
        np.array([[0.9]]), control, np.zeros(1), np.zeros((1, 1))
    )
    env = discrete_env(3, observation_size=1)

    def value(sequence: tuple[int, ...]) -> float:
        x, total = at, 0.0
        for choice in sequence:
            x = 0.9 * x + control[0, choice]
            total += float(np.sin(5.0 * x) + 0.3 * x + 0.1 * (choice == 0))
            if x > 1.5:
                break
        return total

    best = max(value(sequence) for sequence in product(range(3), repeat=5))
    spec = f"{name}:horizon=5,candidates=200,iterations=8,elites=5,momentum=0.5,particles=1,std=1"
    policy = planner(spec, env, model, Bumpy())
    belief = point(torch.tensor([[at]], dtype=torch.float64))
    plan, _ = policy.plan(0, belief, policy.begin(belief, torch.arange(1)))
    assert ((plan == 0) | (plan == 1)).all()
    assert (plan.sum(-1) == 1).all()
    assert value(tuple(plan[0].argmax(-1).tolist())) == pytest.approx(best)


A, B = np.array([[1.0, 0.3], [0.0, 1.0]]), np.array([[0.045], [0.3]])
Q, R = np.diag([1.0, 0.1]), np.array([[0.1]])


def lqr_cost(x: np.ndarray, steps: int) -> float:
    """Of ``Σ x'ᵀ Q x' + uᵀ R u``, by the Riccati recursion."""
    p = np.zeros((2, 2))
    for _ in range(steps):
        q = p + Q  # of the state after the step
        gain = scipy.linalg.solve(R + B.T @ q @ B, B.T @ q @ A)
        p = A.T @ q @ (A - B @ gain)
    return float(x @ p @ x)


@pytest.mark.parametrize(
    ("spec", "within"),
    [
        ("cem:elites=20,std=0.15", 0.02),
        ("icem:elites=20,std=0.2,beta=0.5,decay=1.1,execute=mean", 0.02),
        ("mppi:gamma=5,std=0.05", 0.05),
    ],
)
def test_closed_loop_cost_is_near_that_of_the_regulator(spec: str, within: float) -> None:
    model = LinearGaussianWorldModel.from_parameters(A, B, np.zeros(2), np.zeros((2, 2)))
    reward = QuadraticReward(*map(torch.tensor, ([0.0, 0.0], [1.0, 0.1], [0.1])))
    env = box_env(low=(-10.0,), high=(10.0,), observation_size=2)
    spec += ",horizon=12,candidates=400,iterations=10,particles=1"
    policy = planner(spec, env, model, reward)
    start = np.array([[2.0, 0.0], [-1.0, 2.0]])
    x, cost = start, np.zeros(2)
    state = policy.begin(point(torch.tensor(x)), torch.arange(2))
    for step in range(30):
        action, state = policy.act(step, point(torch.tensor(x)), state)
        u = action.mean.numpy()
        x = x @ A.T + u @ B.T
        cost += np.einsum("bi,ij,bj->b", x, Q, x) + np.einsum("bi,ij,bj->b", u, R, u)
    optimum = np.array([lqr_cost(each, 30) for each in start])
    assert (cost >= optimum * (1 - 1e-9)).all()
    assert (cost <= optimum * (1 + within)).all()


WORLDS: dict[str, tuple[Any, EnvDescription, Reward | None]] = {
    "gp": (small_gp(2, 1), box_env(observation_size=2), Bumpy()),
    "ensemble": (random_ensemble(2, 1, reward=True), box_env(observation_size=2), None),
    "float32": (random_ensemble(2, 1, hidden=(16, 16), weights=torch.float32),
                box_env(observation_size=2), Bumpy()),
    "choices": (random_ensemble(2, 5), discrete_env(3, 2, observation_size=2), Bumpy()),
    "linear": (linear_model(2, 1), box_env((-1.0,), (INF,), 2), None),
}  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("spec", [f"{name}:{SMALL}" for name in PLANNERS])
def test_a_plan_is_the_same_alone_and_beside_others(spec: str, world: str) -> None:
    model, env, reward = WORLDS[world]
    members = "random" if world == "ensemble" else "fixed"
    spec += f",members={members},risk=0.5" + ("" if "mppi" in spec else ",elites=4")
    policy = planner(spec, env, model, reward, seed=3)
    beliefs = [points(7, 2, seed=step) for step in range(3)]

    def run(rows: slice) -> list[torch.Tensor]:
        state = policy.begin(point(beliefs[0][rows]), torch.arange(20, 27)[rows])
        acted = []
        for step, x in enumerate(beliefs):
            action, state = policy.act(step, point(x[rows]), state)
            acted += [action.mean, *state.values()]
        return acted

    whole = run(slice(0, 7))
    for rows in (slice(0, 1), slice(2, 5), slice(6, 7)):
        for alone, together in zip(run(rows), whole, strict=True):
            assert torch.equal(alone, together[rows])
    assert len(whole[0].unique(dim=0)) > 1
    low, high = torch.tensor(env.action_low), torch.tensor(env.action_high)
    assert all(((low <= each) & (each <= high)).all() for each in whole[:: len(whole) // 3])


def test_seeds_trajectories_and_steps_differ() -> None:
    model, env, reward = WORLDS["linear"]
    belief = point(torch.zeros(2, 2, dtype=torch.float64))
    found = []
    for seed, step in ((0, 0), (0, 1), (1, 0)):
        policy = planner(f"cem:{SMALL},elites=4", env, model, reward, seed)
        state = policy.begin(belief, torch.tensor([0, 5]))
        found.append(policy.act(step, belief, state)[0].mean)
    assert len(torch.cat(found).unique()) == 6


@pytest.mark.parametrize("name", PLANNERS)
def test_what_was_found_goes_on_shifted_by_one(name: str) -> None:
    model, env, reward = WORLDS["linear"]
    spec = f"{name}:{SMALL}" + ("" if name == "mppi" else ",elites=4")
    policy = planner(spec, env, model, reward)
    belief = point(points(2, 2))
    plan, state = policy.plan(0, belief, policy.begin(belief, torch.arange(2)))
    moved = torch.cat([plan[:, 1:], plan[:, -1:]], dim=1)
    if name == "icem":
        assert state["elites"].shape == (2, 2, 4, 1)
        assert torch.equal(state["elites"][:, 0], moved)
    else:
        assert torch.equal(policy._range.allowed(state["mean"]), moved)


@pytest.mark.parametrize("length", [64, 65])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.5])
def test_noise_has_the_power_spectrum_it_says(beta: float, length: int) -> None:
    count = 4000
    noise = coloured_noise(np.random.default_rng(1), (count, length, 2), beta)
    assert noise.shape == (count, length, 2)
    power = np.abs(np.fft.rfft(noise, axis=1)) ** 2
    power = power[:, 1 : (length - 1) // 2 + 1]  # the complex ones: exponential about their mean
    x = np.log(np.fft.rfftfreq(length)[1 : (length - 1) // 2 + 1])
    slope = np.polyfit(x, np.log(power.mean((0, 2))), 1)[0]
    error = 1.0 / np.sqrt(2 * count) / np.sqrt(((x - x.mean()) ** 2).sum())
    assert slope == pytest.approx(-beta, abs=4 * error)
    variance = noise.var(axis=(0, 2))
    # Sequences of few waves: the variance of a variance is at most that of one chi-square.
    assert variance == pytest.approx(np.ones(length), abs=4 * np.sqrt(2 / (2 * count)))
    assert coloured_noise(np.random.default_rng(0), (3, 1, 2), beta).shape == (3, 1, 2)


@pytest.mark.parametrize("risk", [0.0, 2.0])
def test_a_return_is_the_mean_less_the_risk_and_counts_until_the_end(
    risk: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Member k adds k, and two of the eight particles follow it.
    model = constant_ensemble([0.0, 1.0, 2.0, 3.0], 1e-9)

    class Ends(Reward):
        def at(self, x: torch.Tensor, u: torch.Tensor, x_next: torch.Tensor) -> torch.Tensor:
            return x_next[..., 0]

        def ended(self, x: torch.Tensor, u: torch.Tensor, x_next: torch.Tensor) -> torch.Tensor:
            return x_next[..., 0] > 3.5

    each = np.array([0.0, 1 + 2 + 3, 2 + 4, 3 + 6])
    spec = f"cem:horizon=3,candidates=2,elites=1,iterations=1,particles=8,risk={risk}"
    policy = planner(spec, box_env(observation_size=1), model, Ends())
    seen: list[torch.Tensor] = []

    def watch(search: Search, candidates: torch.Tensor, returns: torch.Tensor) -> Search:
        seen.append(returns)
        return search._replace(elites=candidates)

    monkeypatch.setattr(policy, "improved", watch)
    belief = point(torch.zeros(1, 1, dtype=torch.float64))
    policy.act(0, belief, policy.begin(belief, torch.arange(1)))
    expected = np.full((1, 2), each.mean() - risk * each.std())
    assert seen[0].numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", PLANNERS)
def test_candidates_for_which_the_model_fails_are_not_taken(name: str) -> None:
    class Half(Reward):
        def at(self, x: torch.Tensor, u: torch.Tensor, x_next: torch.Tensor) -> torch.Tensor:
            return torch.log(u[..., 0])  # NaN below 0

    model = WORLDS["linear"][0]
    wide = f"{name}:horizon=1,candidates=40,iterations=1,particles=2,std=1"
    policy = planner(wide, box_env(observation_size=2), model, Half())
    belief = point(points(3, 2))
    action, _ = policy.act(0, belief, policy.begin(belief, torch.arange(3)))
    assert (action.mean > 0).all()
    policy = planner(wide, box_env((-2.0,), (-1.0,), 2), model, Half())
    action, state = policy.act(0, belief, policy.begin(belief, torch.arange(3)))
    assert action.mean.isfinite().all()
    assert state["mean"].isfinite().all()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("icem:horizon=30,depth=3", "no parameter 'depth'; there is horizon=30, candidates=64"),
        ("cem:beta=1", "no parameter 'beta'; there is"),
        ("mppi:elites=3", "no parameter 'elites'; there is"),
        ("cem:horizon=x", "horizon is 'x'; it must be a whole number, 1 or more"),
        ("cem:horizon", "horizon is ''; it must be a whole number, 1 or more"),
        ("cem:horizon=0", "horizon is '0'; it must be a whole number, 1 or more"),
        ("cem:std=nan", "std is 'nan'; it must be a number, 1e-06 or more"),
        ("icem:keep=2", "keep is '2'; it must be a number, from 0 to 1"),
        ("icem:members=some", "members is 'some'; it is fixed or random"),
        ("icem:execute=worst", "execute is 'worst'; it is best or mean"),
        ("icem:beta=1,beta=2", "gives beta twice"),
        ("icem:candidates=4,elites=5", "5 elites of 4 candidates"),
    ],
)
def test_what_is_refused(spec: str, says: str) -> None:
    model, env, reward = WORLDS["linear"]
    with pytest.raises(InputError, match=says):
        planner(spec, env, model, reward)


@pytest.mark.parametrize("name", PLANNERS)
def test_without_a_world_model_or_a_reward_there_is_no_plan(name: str) -> None:
    env = box_env(observation_size=2)
    with pytest.raises(InputError, match=f"'{name}' plans in a world model, and there is none"):
        make_policy(name, env, seed=0)
    with pytest.raises(InputError, match="the world model has no reward; give one, such as"):
        planner(name, env, small_gp(2, 1), None)
    module = as_world_model(linear_module(2, 1, torch.float64, "both"), 2, 1)
    with pytest.raises(InputError, match="can't be asked at points; give a gp, sparse-gp, linear"):
        planner(name, env, module, None)


def test_points_need_no_check_of_their_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, reward = WORLDS["ensemble"]
    state = {"sample": points(5, 2), "member": torch.arange(5).unsqueeze(1)}
    belief, action = point(state["sample"]), ActionBelief(points(5, 1))
    found = []
    for certain in (True, False):
        monkeypatch.setattr(Sampled, "certain", certain)
        noise = TrajectoryNoise(0, 0, 5, torch.float64)
        dynamics = ModelDynamics(model, Sampled(), reward)
        found.append(dynamics.step(belief, action, state, noise)[0])
    for one, other in zip(*(step[:4] for step in found), strict=True):
        assert torch.equal(one, other)


@pytest.mark.long
def test_a_real_pendulum_is_swung_up_and_held() -> None:
    env = make_env("Pendulum-v1")
    about = describe(env)
    model = load_world_model(SAMPLES / "pendulum-ensemble.pt")
    spec = "icem:horizon=20,candidates=32,iterations=2,elites=6,particles=3"
    policy = planner(spec, about, model, env_reward("Pendulum-v1"))
    for number in (1, 2):  # which begin far from upright
        episode = list(real_episode(env, about, policy, seed=0, number=number))
        assert sum(step.reward for step in episode) > -400.0
        assert min(step.next_observation[0] for step in episode[-50:]) > 0.9
    env.close()


@pytest.mark.long
def test_an_imagined_pendulum_is_swung_up_and_held(tmp_path: Path) -> None:
    run_rollout(
        "Pendulum-v1",
        SAMPLES / "pendulum-ensemble.pt",
        output=tmp_path / "r.h5",
        policy="icem:horizon=20,candidates=32,iterations=2,elites=6,particles=3",
        reward="env",
        propagation="linearized",
        start="mean=-1,0,0;var=0,0,0",
        steps=80,
    )
    with open_rollout(tmp_path / "r.h5") as rollout:
        cosine = rollout.mean(0)[:, 0]
        assert cosine[0] == -1.0
        assert (cosine[-10:] > 0.9).all()
