"""What is around the model: loops whose world model does next to nothing.

Times are for each step, of B=1 trajectory of Pendulum-v1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from tensordict.nn import TensorDictModule
from torchrl.envs import GymEnv
from torchrl.envs.model_based.imagined import ImaginedEnv as TorchRLImaginedEnv

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.environments import describe, make_env
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.policies import make_policy
from imagine_cli.rollout.engine import imagine_all
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional, Prediction

__all__ = ["engine", "imagined_env"]

_ENV, _SIZE, _ACTIONS = "Pendulum-v1", 3, 1


class _Still(WorldModel):
    """Every belief stays what it is."""

    kind = "still"
    propagation = "moments"
    observation_size, action_size, dtype = _SIZE, _ACTIONS, torch.float32

    def moments(self, belief: Belief, action: ActionBelief) -> Prediction:
        return Prediction(*belief)

    def conditional(self, x: Any, u: Any, member: Any = None) -> Conditional:
        return Conditional(x, torch.zeros_like(x))

    def config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Any]) -> _Still:
        return cls()

    def describe(self) -> dict[str, Any]:
        return {}


class _Nowhere:
    """A recorder that forgets."""

    time_chunk, trajectory_chunk = 512, 1

    def write_start(self, *data: object, **named: object) -> None:
        pass

    def write(self, *data: object, **named: object) -> None:
        pass


def imagined_env(bench: Bench) -> Iterator[Row]:
    """``ImaginedEnv.rollout`` with the same module as torchrl's."""
    steps = 20 if bench.quick else 100

    def still(action: torch.Tensor, observation: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(observation, torch.Tensor):  # torchrl's first observation has no variance
            return observation, torch.zeros(*observation.shape, _SIZE, device=observation.device)
        return observation["mean"], observation["var"]

    module = TensorDictModule(
        still,
        in_keys=["action", "observation"],
        out_keys=[("next", "observation", "mean"), ("next", "observation", "var")],
    )
    real = GymEnv(_ENV, device=bench.device)
    ours = ImaginedEnv(module, real, batch_size=[1])
    theirs = TorchRLImaginedEnv(module, real, batch_size=[1])
    with torch.no_grad():
        yield bench.row(
            "rollout",
            f"ImaginedEnv.rollout({steps}), a step",
            lambda: ours.rollout(steps),
            {"torchrl": lambda: theirs.rollout(steps)},
            per=steps,
        )


def engine(bench: Bench) -> Iterator[Row]:
    """The loop of ``imagine rollout``, without writing."""
    steps = 100 if bench.quick else 500
    about = describe(make_env(_ENV))
    env = ImaginedEnv(_Still().to(bench.device), GymEnv(_ENV, device=bench.device), batch_size=[1])
    policy = make_policy("zero", about, seed=0, dtype=torch.float32, device=bench.device)

    def start(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((count, _SIZE)), np.zeros((count, _SIZE, _SIZE))

    def loop() -> None:
        imagine_all(
            env,
            policy,
            start,
            _Nowhere(),
            steps=steps,
            trajectories=1,
            action_size=_ACTIONS,
            wanted={"action_var": False, "reward": False, "reward_var": False},
            names=list(about.observation_names),
        )

    with torch.no_grad():
        yield bench.row("engine", f"the loop of {steps} steps, a step", loop, per=steps)
