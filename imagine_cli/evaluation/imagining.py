"""A real run's initial states and actions, imagined by a world model and scored as it goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import ImagineError
from imagine_cli.evaluation.real import RealRun, evaluation_seed
from imagine_cli.evaluation.scores import ScoreKeeper, Scores
from imagine_cli.progress import Progress
from imagine_cli.recording import RolloutWriter
from imagine_cli.recording.shard import Grid, Shard

if TYPE_CHECKING:
    from imagine_cli.evaluation.candidates import Candidate
    from imagine_cli.request import RolloutRequest

__all__ = ["Target", "imagine_run"]


@dataclass(frozen=True)
class Target:
    """The rollout file that an imagined run goes to."""

    path: str | Path
    command: str
    overwrite: bool


class _ScoredShards:
    """Where shards go that are scored, and written to a file where there is one.

    None is there before it is imagined, so that none is read.
    """

    def __init__(self, keeper: ScoreKeeper, shards: Sequence[Shard], writer: Any) -> None:
        self.shards, self._keeper, self._writer = shards, keeper, writer

    def has(self, shard: Shard) -> bool:
        return False

    def write(
        self, shard: Shard, numbers: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]
    ) -> None:
        mean, var = numbers["observation/mean"], numbers["observation/var"]
        self._keeper.add(shard.first_trajectory, shard.first_step, mean, var)
        if self._writer is not None:
            self._writer.write(shard, numbers, state)


def imagine_run(
    candidate: Candidate,
    request: RolloutRequest,
    env: Any,
    about: EnvDescription,
    run: RealRun,
    target: Target | None,
    progress: Progress,
) -> tuple[Scores, str, float]:
    """Imagine the run: the scores, the propagation, the seconds.

    Args:
        request: of the real run; its seed is what the propagation's random numbers come from.
        target: the rollout file to write, or None.

    Raises ImagineError, with the model's name, where a belief is not finite.
    """
    import torch

    from imagine_cli.engines.local import LocalEngine
    from imagine_cli.policies.replay import GivenActions
    from imagine_cli.rollout.engine import EngineProgress
    from imagine_cli.rollout.prepare import prepare

    size = about.observation_size

    def initial(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return run.observations[first : first + count, 0], np.zeros((count, size, size))

    seed = request.seed
    request = replace(request, seed=evaluation_seed(seed), start="real run", parameters={})
    actions = torch.tensor(run.actions, device=request.device)
    name, model, propagation = candidate
    rollout = prepare(
        request, env, about, model, propagation=propagation,
        policy=GivenActions(actions, request.policy), initial=initial,
    )  # fmt: skip
    used = rollout.dynamics.propagation.description
    keeper = ScoreKeeper(run.observations, run.lengths)
    named = name if used == "module" else f"{name}, {used}"
    progress.stage(f"imagining with {named}", run.steps * run.trajectories)
    dtype = str(rollout.dtype).removeprefix("torch.")
    begun = time.perf_counter()
    writing: Any = nullcontext()
    if target is not None:
        writing = RolloutWriter(
            target.path, replace(rollout.header(target.command), seed=seed), dtype=dtype,
            fields=rollout.fields, overwrite=target.overwrite, together=rollout.together,
        )  # fmt: skip
    sizes = {
        "trajectory": run.trajectories, "step": run.steps, "observation": size,
        "action": about.action_size, "particle": 1,
    }  # fmt: skip
    grid = Grid(sizes, rollout.fields, np.dtype(dtype).itemsize, rollout.together)
    told = EngineProgress(lambda count, _: progress.advance(count))
    with writing as writer:
        shards: Any = _ScoredShards(keeper, grid, writer)
        try:
            LocalEngine().run(rollout, shards, told)
        except ImagineError as error:
            raise type(error)(f"{named}: {error}") from error
    return keeper.scores(), used, time.perf_counter() - begun
