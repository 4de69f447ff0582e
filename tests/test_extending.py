"""Another package adds a policy, a propagation, a reward, an engine: one file and one entry point.

This file stands for theirs. A dataset or an option of a rollout is one line of ours each.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagine_cli import open_rollout, run_rollout
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.engines.local import LocalEngine
from imagine_cli.policies.base import Policy, PolicyContext, PolicyState
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.recording import write_rollout
from imagine_cli.recording.fields import FIELDS, Field
from imagine_cli.rewards.base import Reward, RewardContext
from imagine_cli.world_models.interfaces import Prediction, SupportsPoints
from tests.helpers.linear_systems import linear_model
from tests.helpers.rollout_files import header


class Swing(Policy):
    """Its action counts the steps, in its own state."""

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        return {"taken": torch.zeros(len(trajectories), dtype=torch.int64)}

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        taken = state["taken"]
        action = 0.1 * taken.to(observation.mean).unsqueeze(-1)
        return ActionBelief(action), {"taken": taken + 1}


def swing(argument: str, context: PolicyContext) -> Swing:
    return Swing()


@dataclass(frozen=True)
class Certain(Propagation):
    """The mean alone."""

    name = "certain"
    needs = SupportsPoints

    def advance(
        self, model: Any, belief: Belief, action: ActionBelief, state: State, noise: Any
    ) -> tuple[Prediction, State]:
        mean = model.conditional(belief.mean, action.mean).mean
        return Prediction(mean, torch.zeros_like(belief.var)), state


class Height(Reward):
    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return x_next[..., 0]


def height(argument: str, context: RewardContext) -> Height:
    return Height()


class Counting(LocalEngine):
    runs = 0

    def run(self, *arguments: Any) -> None:
        Counting.runs += 1
        super().run(*arguments)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = {
        "policies": ("swing", "swing"),
        "propagations": ("certain", "Certain"),
        "rewards": ("height", "height"),
        "engines": ("counting", "Counting"),
    }

    def entry_points(*, group: str) -> list[EntryPoint]:
        name, attribute = offered.get(group.removeprefix("imagine_cli."), ("", ""))
        return [EntryPoint(name, f"{__name__}:{attribute}", group)] if name else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_a_policy_a_propagation_a_reward_and_an_engine(tmp_path: Path) -> None:
    before = Counting.runs
    summary = run_rollout(
        "Pendulum-v1", linear_model(3, 1), policy="swing", propagation="certain", reward="height",
        engine="counting", steps=4, trajectories=2, output=tmp_path / "r.h5",
    )  # fmt: skip
    assert Counting.runs == before + 1
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.propagation == "certain"
        assert not rollout.var().any()
        np.testing.assert_allclose(rollout.action_mean()[0, :, 0], [0.0, 0.1, 0.2, 0.3], rtol=1e-6)
        heights = rollout.mean()[:, 1:, 0]
        np.testing.assert_allclose(rollout.reward_mean(), heights, rtol=1e-12)
    assert summary.returns is not None
    np.testing.assert_allclose(summary.returns, heights.sum(1), rtol=1e-12)


def test_a_dataset_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "reward/risk", Field("reward/risk", ("trajectory", "step")))
    risk = np.arange(12.0).reshape(3, 4)
    arrays = {
        "observation/mean": np.zeros((3, 5, 2)),
        "observation/var": np.zeros((3, 5, 2, 2)),
        "reward/risk": risk,
    }
    write_rollout(tmp_path / "r.h5", header(3, 4, 2, 1), arrays)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.datasets["reward/risk"] == (3, 4)
        assert np.array_equal(rollout.numbers("reward/risk"), risk)
