"""Stable-Baselines3 in imagined envs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from imagine_cli import copy_sample
from imagine_cli.errors import InputError

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from imagine_cli.gymnasium_envs import stable_baselines
from imagine_cli.gymnasium_envs.stable_baselines import StableBaselinesEnv

ROOT = Path(__file__).parents[2]
ID = "imagine_cli:Imagined-v0"
CARTPOLE = {"model": str(ROOT / "sample_models" / "cartpole-gp.pt"), "reward": "env"}


def test_a_batch_is_what_stable_baselines_makes_of_single_envs() -> None:
    envs = gymnasium.make_vec(ID, num_envs=3, **CARTPOLE, autoreset_mode="SameStep")
    batch: Any = StableBaselinesEnv(envs)
    single: Any = DummyVecEnv([lambda: gymnasium.make(ID, **CARTPOLE)] * 3)
    for env in (batch, single):
        env.seed(4)
    assert (batch.reset() == single.reset()).all()
    batch.action_space.seed(0)
    ended = 0
    for _ in range(40):
        actions = np.array([batch.action_space.sample() for _ in range(3)])
        *numbers, infos = batch.step(actions)
        *expected, expected_infos = single.step(actions)
        for one, other in zip(numbers, expected, strict=True):
            assert (one == other).all()
        for info, other in zip(infos, expected_infos, strict=True):
            if "terminal_observation" in other:
                ended += 1
                assert info["TimeLimit.truncated"] == other["TimeLimit.truncated"]
                assert (info["terminal_observation"] == other["terminal_observation"]).all()
            else:
                assert info == {}
    assert ended > 2


def test_envs_that_are_reset_a_step_later_are_refused() -> None:
    envs = gymnasium.make_vec(ID, num_envs=2, **CARTPOLE)
    with pytest.raises(InputError, match='make them with autoreset_mode="SameStep"'):
        StableBaselinesEnv(envs)


@pytest.mark.long
def test_what_ppo_learns_in_a_model_swings_the_real_pendulum_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's program; a random policy's return is about -1,200, the best is about -150."""
    readme = Path(stable_baselines.__file__).parent / "README.md"
    (program,) = re.findall(r"```py\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    copy_sample("pendulum-gp")
    names: dict[str, Any] = {}
    exec(program, names)
    real = Monitor(gymnasium.make("Pendulum-v1"))
    real.reset(seed=0)
    mean, _ = evaluate_policy(names["agent"], real, n_eval_episodes=20)
    assert mean > -500
