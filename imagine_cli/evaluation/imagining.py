"""A real run's initial states and actions, imagined by a world model and scored as it goes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.evaluation.real import RealRun, evaluation_seed
from imagine_cli.evaluation.run_scores import RunScores
from imagine_cli.evaluation.scores import ScoreKeeper
from imagine_cli.progress import Progress
from imagine_cli.recording import RolloutWriter
from imagine_cli.recording.fields import REQUIRED_FIELDS
from imagine_cli.recording.shard import Grid, Shard
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    from imagine_cli.evaluation.candidates import Candidate
    from imagine_cli.rollout.engine import Engine, EngineProgress
    from imagine_cli.rollout.prepare import GivenRun, LoadedModel, PreparedRollout


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

    rollout = replace(rollout, initial=_given(run, 0).initial)
    progress.stage("imagining", run.steps * run.trajectories)
    told = EngineProgress(lambda count, _: progress.advance(count))
    seen: Any = _Seen(_grid(rollout), None)
    make_engine("local").run(rollout, seen, told)
    return told.total.returns


def _given(run: RealRun, seed: int) -> GivenRun:
    from imagine_cli.rollout.prepare import GivenRun

    return GivenRun(run.observations[:, 0], run.actions, seed)


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
    engine: str | Engine = "local",
) -> tuple[RunScores, str, float]:
    """Imagine the run: the scores, the propagation, the seconds.

    Args:
        request: of the real run; its seed is what the propagation's random numbers come from.
        target: the rollout file to write, or None.
        engine: who imagines, see :func:`~imagine_cli.run_rollout`. Others than ``"local"`` have
            their shards in the current folder until they are scored.

    Raises ImagineError, with the model's name, where a belief is not finite.
    """
    from imagine_cli.engines.local import LocalEngine
    from imagine_cli.rollout.compiling import remark_on_compiling
    from imagine_cli.rollout.engine import make_engine
    from imagine_cli.rollout.prepare import prepare, request_header

    name, model, propagation = candidate
    asked = RolloutRequest.of({"env": "", "propagation": propagation})
    given, engine = _given(run, request.seed), make_engine(engine)
    request = replace(
        request, seed=evaluation_seed(request.seed), start="real run",
        propagation=asked.propagation, parameters=asked.parameters,
        reward=_reward(model, about, run),
    )  # fmt: skip
    rollout = prepare(request, env, about, model, propagation=propagation, given=given)
    remark_on_compiling(rollout.dynamics, run.steps * run.trajectories)
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
    rewarded = run.rewards is not None and rollout.dynamics.has_reward
    keeper = ScoreKeeper(
        run.observations, run.lengths, particles, run.rewards if rewarded else None
    )
    seen = [*REQUIRED_FIELDS, *["reward/mean"] * rewarded]

    def see(shard: Shard, numbers: Mapping[str, np.ndarray]) -> None:
        mean, var = numbers["observation/mean"], numbers["observation/var"]
        keeper.add(shard.first_trajectory, shard.first_step, mean, var)
        if rewarded:
            keeper.add_rewards(shard.first_trajectory, shard.first_step, numbers["reward/mean"])

    named = name if used == "module" else f"{name}, {used}"
    progress.stage(f"imagining with {named}", run.steps * run.trajectories)
    here, told = isinstance(engine, LocalEngine), _told(progress)
    begun = time.perf_counter()
    with ExitStack() as stack:
        if target is None and not here:
            folder = stack.enter_context(TemporaryDirectory(prefix=".imagine-", dir=os.curdir))
            target = Target(Path(folder) / "imagined.h5", "", False)
        writer = None
        if target is not None:
            header = request_header(rollout, target.command)
            how = {**rollout.layout, "overwrite": target.overwrite, "keep": False}
            writer = stack.enter_context(RolloutWriter(target.path, header, **how))
        shards: Any = _Seen(_grid(rollout), see, writer) if here else writer
        try:
            engine.run(rollout, shards, told)
        except ImagineError as error:
            raise type(error)(f"{named}: {error}") from error
        if not here and writer is not None:
            for shard in writer.shards:
                see(shard, {name: writer.read(shard, name) for name in seen})
    return keeper.scores(), used, time.perf_counter() - begun


def _reward(model: LoadedModel, about: EnvDescription, run: RealRun) -> str | None:
    """The env's own, where the run has rewards, the model has none and it is written out."""
    from imagine_cli.rewards.env import env_reward

    if run.rewards is None or getattr(model.module, "has_reward", False):
        return None
    try:
        env_reward(about.id, about.kwargs)
    except InputError:
        return None
    return "env"


def _told(progress: Progress) -> EngineProgress:
    """What tells the display of steps, or of what workers did."""
    from imagine_cli.rollout.engine import EngineProgress

    done = 0

    def tally(told: EngineProgress) -> None:
        nonlocal done
        now = sum(worker.steps for worker in told.workers.values())
        progress.advance(now - done, f"{told.running} tasks at {len(told.workers)} workers")
        done = now

    return EngineProgress(lambda count, _: progress.advance(count), on_tally=tally)
