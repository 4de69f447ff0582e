"""What is around the model: loops whose world model does next to nothing.

Times are for each step, of B=1 trajectory of Pendulum-v1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from tensordict.nn import TensorDictModule
from torchrl.envs import GymEnv
from torchrl.envs.model_based.imagined import ImaginedEnv as TorchRLImaginedEnv

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.engines.local import LocalEngine
from imagine_cli.environments import describe, make_env
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.recording.shard import Grid, Shard
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.engine import EngineProgress
from imagine_cli.rollout.prepare import prepare
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional, Prediction

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
    """Shards that are forgotten."""

    def __init__(self, grid: Grid) -> None:
        self.shards = grid

    def has(self, shard: Shard) -> bool:
        return False

    def write(self, shard: Shard, numbers: Any, state: Any) -> None:
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
    real = make_env(_ENV)
    request = RolloutRequest(env=_ENV, policy="zero", start="mean=0,0,0", steps=steps)
    request = replace(request, device=str(bench.device))
    rollout = prepare(request, real, describe(real), _Still().to(bench.device))
    sizes = {"trajectory": 1, "step": steps, "observation": 3, "action": 1, "particle": 1}
    shards: Any = _Nowhere(Grid(sizes, rollout.fields, 4, None))
    local = LocalEngine()
    yield bench.row(
        "engine",
        f"the loop of {steps} steps, a step",
        lambda: local.run(rollout, shards, EngineProgress()),
        per=steps,
    )
