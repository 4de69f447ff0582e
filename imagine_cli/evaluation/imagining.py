"""A real run's initial states and actions, imagined by a world model and scored as it goes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import ImagineError
from imagine_cli.evaluation.real import RealRun, evaluation_seed
from imagine_cli.evaluation.run_scores import RunScores
from imagine_cli.evaluation.scores import ScoreKeeper
from imagine_cli.progress import Progress
from imagine_cli.recording import RolloutWriter
from imagine_cli.recording.shard import Grid, Shard

if TYPE_CHECKING:
    from imagine_cli.evaluation.candidates import Candidate
    from imagine_cli.request import RolloutRequest
    from imagine_cli.rollout.prepare import PreparedRollout


@dataclass(frozen=True)
class Target:
    """The rollout file that an imagined run goes to."""

    path: str | Path
    command: str
    overwrite: bool


class _Seen:
    """Where shards go that are seen, and kept by a writer alone where there is one.

    None is there before it is imagined, so that none is read.
    """

    def __init__(
        self, shards: Sequence[Shard], see: Callable[[Shard, Any], None] | None, writer: Any = None
    ) -> None:
        self.shards, self._see, self._writer = shards, see, writer

    def has(self, shard: Shard) -> bool:
        return False

    def write(
        self, shard: Shard, numbers: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]
    ) -> None:
        if self._see is not None:
            self._see(shard, numbers)
        if self._writer is not None:
            self._writer.write(shard, numbers, state)


def imagined_returns(rollout: PreparedRollout, run: RealRun, progress: Progress) -> np.ndarray:
    """The returns ``(B,)`` that are imagined from where the real run's episodes began."""
    from imagine_cli.rollout.engine import EngineProgress, make_engine

    rollout = replace(rollout, initial=_beginnings(run))
    progress.stage("imagining", run.steps * run.trajectories)
    told = EngineProgress(lambda count, _: progress.advance(count))
    seen: Any = _Seen(_grid(rollout), None)
    make_engine("local").run(rollout, seen, told)
    return told.total.returns


def _beginnings(run: RealRun) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    size = run.observations.shape[2]

    def initial(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return run.observations[first : first + count, 0], np.zeros((count, size, size))

    return initial


def _grid(rollout: PreparedRollout) -> Grid:
    sizes = {
        "trajectory": rollout.request.trajectories, "step": rollout.request.steps,
        "observation": rollout.description.observation_size, "action": rollout.action_size,
        "particle": 1,
    }  # fmt: skip
    return Grid(sizes, rollout.fields, rollout.dtype.itemsize, rollout.together)


def imagine_run(
    candidate: Candidate,
    request: RolloutRequest,
    env: Any,
    about: EnvDescription,
    run: RealRun,
    target: Target | None,
    progress: Progress,
) -> tuple[RunScores, str, float]:
    """Imagine the run: the scores, the propagation, the seconds.

    Args:
        request: of the real run; its seed is what the propagation's random numbers come from.
        target: the rollout file to write, or None.

    Raises ImagineError, with the model's name, where a belief is not finite.
    """
    import torch

    from imagine_cli.policies.replay import GivenActions
    from imagine_cli.rollout.engine import EngineProgress, make_engine
    from imagine_cli.rollout.prepare import prepare

    seed = request.seed
    request = replace(request, seed=evaluation_seed(seed), start="real run", parameters={})
    actions = torch.tensor(run.actions, device=request.device)
    name, model, propagation = candidate
    rollout = prepare(
        request, env, about, model, propagation=propagation,
        policy=GivenActions(actions, request.policy), initial=_beginnings(run),
    )  # fmt: skip
    used = rollout.dynamics.propagation.description
    particles = getattr(propagation, "particles", None)
    if particles is not None and particles <= about.observation_size:
        warnings.warn(
            f"{name}: {particles} particles have no joint density in {about.observation_size} "
            "dimensions, so that the joint NLL takes these one by one and joint coverages are left "
            f"out; give --particles {10 * about.observation_size}, or more than "
            f"{about.observation_size}",
            stacklevel=2,
        )
    keeper = ScoreKeeper(run.observations, run.lengths, particles)

    def see(shard: Shard, numbers: Mapping[str, np.ndarray]) -> None:
        mean, var = numbers["observation/mean"], numbers["observation/var"]
        keeper.add(shard.first_trajectory, shard.first_step, mean, var)

    named = name if used == "module" else f"{name}, {used}"
    progress.stage(f"imagining with {named}", run.steps * run.trajectories)
    told = EngineProgress(lambda count, _: progress.advance(count))
    begun = time.perf_counter()
    writing: Any = nullcontext()
    if target is not None:
        writing = RolloutWriter(
            target.path, replace(rollout.header(target.command), seed=seed), **rollout.layout,
            overwrite=target.overwrite, keep=False,
        )  # fmt: skip
    with writing as writer:
        seen: Any = _Seen(_grid(rollout), see, writer)
        try:
            make_engine("local").run(rollout, seen, told)
        except ImagineError as error:
            raise type(error)(f"{named}: {error}") from error
    return keeper.scores(), used, time.perf_counter() - begun
