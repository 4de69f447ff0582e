"""Real episodes side by side are those that each would be alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagine_cli import load_world_model
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.real import run_real
from imagine_cli.policies import make_policy
from imagine_cli.policies.base import PolicyContext
from imagine_cli.propagation import make_propagation
from imagine_cli.rewards import env_reward
from imagine_cli.rollout.real import real_episode, real_episodes
from imagine_cli.unroll import ModelDynamics

SAMPLES = Path(__file__).parents[2] / "sample_models"


def test_they_end_one_by_one() -> None:
    envs = [make_env("CartPole-v1") for _ in range(5)]
    about = describe(envs[0])
    policy = make_policy("random", about, seed=1)
    together: dict[int, list[np.ndarray]] = {}
    for number, step in real_episodes(envs, about, policy, seed=2, first=3):
        together.setdefault(number, []).append(step.next_observation)
    assert sorted(together) == [3, 4, 5, 6, 7]
    assert len({len(steps) for steps in together.values()}) > 1
    for number, steps in together.items():
        alone = real_episode(envs[0], about, policy, seed=2, number=number)
        assert np.array_equal([step.next_observation for step in alone], steps)


def test_a_planner_acts_in_several_at_once() -> None:
    env = make_env("Pendulum-v1")
    about = describe(env)
    model = load_world_model(SAMPLES / "pendulum-ensemble.pt")
    dynamics = ModelDynamics(model, make_propagation(None, model), env_reward("Pendulum-v1"))
    context = PolicyContext(about, 0, model.dtype, "cpu", dynamics)
    policy = make_policy("icem:horizon=4,candidates=12,iterations=2,particles=5", context)
    together = run_real(env, about, policy, steps=6, trajectories=3, seed=0)
    policy.episodes_at_once = 1
    alone = run_real(env, about, policy, steps=6, trajectories=3, seed=0)
    assert np.array_equal(together.observations, alone.observations)
    assert np.array_equal(together.actions, alone.actions)
