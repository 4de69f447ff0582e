"""The loop of an imagined rollout: a policy drives an ImaginedEnv, a recorder sees every step.

Trajectories go in batches and steps in blocks, so that memory is that of one block whatever B
and T are. What happens in a trajectory depends on the seed and its number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.policies.base import Policy
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.rollout.batch import Batch, Failure, OnStep
from imagine_cli.rollout.block import Block, as_numpy
from imagine_cli.rollout.starts import Start

__all__ = ["Recorded", "Recorder", "Spread", "imagine_all", "room"]

# At least so many trajectories are one batch: fewer leave the machine idle between operations.
_TOGETHER = 64
# The most numbers that particles, and what they follow, may be in memory: 64 MiB of float64.
_NUMBERS = 2**23
# Particles are stored in chunks that span a multiple of so many steps.
_STEPS = 64


class Recorder(Protocol):
    """What the engine needs of a :class:`imagine_cli.recording.RolloutWriter`."""

    @property
    def time_chunk(self) -> int: ...

    @property
    def trajectory_chunk(self) -> int: ...

    def write_start(
        self,
        first_trajectory: int,
        mean: np.ndarray,
        var: np.ndarray,
        particles: np.ndarray | None = None,
    ) -> None: ...

    def write(
        self,
        first_trajectory: int,
        first_step: int,
        *,
        observation_mean: np.ndarray,
        observation_var: np.ndarray,
        action_mean: np.ndarray,
        action_var: np.ndarray | None,
        reward_mean: np.ndarray | None,
        reward_var: np.ndarray | None,
        particles: np.ndarray | None = None,
    ) -> None: ...


class Recorded(Protocol):
    """What the engine needs of a :class:`imagine_cli.recording.leftover.Leftover`."""

    def steps(self, first: int, count: int) -> int: ...

    def until(self, there: int) -> int: ...

    def start(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]: ...

    def block(self, first: int, count: int, step: int, length: int) -> dict[str, Any]: ...

    @property
    def used_up(self) -> Callable[[], None]: ...


@dataclass
class Spread:
    """Root-mean-square standard deviation over the trajectories, ``(D,)``, at start and end.

    Of those that got to the end, where ``failed`` did not. ``failures`` says where, of those that
    failed in this process.
    """

    start: np.ndarray
    end: np.ndarray
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)


def imagine_all(
    env: ImaginedEnv,
    policy: Policy,
    start: Start,
    recorder: Recorder,
    *,
    steps: int,
    trajectories: int,
    action_size: int,
    wanted: dict[str, bool],
    names: list[str],
    seed: int = 0,
    on_step: OnStep | None = None,
    mask: bool = False,
    recorded: Recorded | None = None,
    on_block: Callable[[], None] | None = None,
) -> Spread:
    """Imagine ``trajectories`` of ``steps`` each and hand every step to ``recorder``.

    Args:
        env: what imagines.
        policy: what acts.
        start: where each trajectory starts.
        recorder: what writes.
        steps: T.
        trajectories: B.
        action_size: F.
        wanted: whether ``action_var``, ``reward``, ``reward_var`` and the propagation's
            ``particles`` are recorded.
        names: of the observation dimensions, for errors.
        seed: of what the propagation draws at random.
        on_step: called with (trajectories advanced by one step, their beliefs).
        mask: what is not finite becomes NaN to the trajectory's end, and the others go on;
            otherwise it is an error.
        recorded: what an interrupted run of the same did; it is handed on instead of imagined.
        on_block: called before each block of steps; what it raises ends the rollout there.

    Raises:
        ImagineError: a belief that is not finite, with the step, trajectory and dimension.
    """
    particles = _particle_count(env)
    numbers = 0 if env.propagation is None else env.propagation.numbers(env.world_model)
    kept = particles * len(names) if wanted.get("particles", False) else 0
    together, most = room(
        (recorder.trajectory_chunk, recorder.time_chunk), trajectories, numbers, kept
    )
    spread = Spread(np.zeros(len(names)), np.zeros(len(names)))
    ended = 0
    for first in range(0, trajectories, together):
        b = min(together, trajectories - first)
        done = -1 if recorded is None else recorded.steps(first, b)
        caught_up = 0 if recorded is None else min(steps, recorded.until(done))
        if recorded is not None and done == steps:
            belief = _replay(recorded, recorder, first, b, (0, steps, most), env, spread, on_step)
            ended += _add_end(spread, belief)
            continue
        mean, var = start(first, b)
        like = {"dtype": env.belief_dtype, "device": env.device}
        belief = Belief(torch.tensor(mean, **like), torch.tensor(var, **like))
        noise = TrajectoryNoise(seed, first, b, **like)
        batch = Batch(env, policy, belief, noise, first, names, mask=mask)
        # Only where the belief is all that a step goes on from can it go on from a file.
        done = done // most * most if done > 0 and not batch.state and env.propagation else 0
        if recorded is not None and done > 0:
            belief = _replay(recorded, recorder, first, b, (0, done, most), env, spread, on_step)
            batch.go_on_from(belief)
        else:
            drawn = as_numpy(batch.state["particles"]) if wanted.get("particles") else None
            recorder.write_start(first, as_numpy(belief.mean), as_numpy(belief.var), drawn)
            spread.start += _variances(belief.var)
        for step in range(done, steps, most):
            if on_block is not None:
                on_block()
            block = Block.empty(
                b, min(most, steps - step), belief.mean, action_size, wanted, particles
            )
            batch.imagine(block, step, on_step)
            recorder.write(first, step, **block.numbers())
            if recorded is not None and step + most >= caught_up:  # the new file has as many
                recorded.used_up()
                recorded = None
        spread.failures += batch.failures
        ended += _add_end(spread, batch.belief, batch.failed)
    spread.start = np.sqrt(spread.start / trajectories)
    with np.errstate(invalid="ignore"):  # none of them got to the end
        spread.end = np.sqrt(spread.end / ended if ended else spread.end * np.nan)
    spread.failed = trajectories - ended
    return spread


def _replay(
    recorded: Recorded,
    recorder: Recorder,
    first: int,
    b: int,
    span: tuple[int, int, int],
    env: ImaginedEnv,
    spread: Spread,
    on_step: OnStep | None,
) -> Belief:
    """Hand on the start and the steps of ``span`` (a range), as imagining does; the last belief."""
    place: dict[str, Any] = {"dtype": env.belief_dtype, "device": env.device}
    start_mean, start_var, particles = recorded.start(first, b)
    recorder.write_start(first, start_mean, start_var, particles)
    spread.start += _variances(torch.as_tensor(start_var, **place))
    mean, var = start_mean[:, None], start_var[:, None]
    for step in range(*span):
        numbers = recorded.block(first, b, step, min(span[2], span[1] - step))
        recorder.write(first, step, **numbers)
        mean, var = numbers["observation_mean"], numbers["observation_var"]
        if on_step is not None:
            beliefs = Belief(torch.as_tensor(mean, **place), torch.as_tensor(var, **place))
            for k in range(beliefs.mean.shape[1]):
                on_step(b, Belief(beliefs.mean[:, k], beliefs.var[:, k]))
    return Belief(torch.tensor(mean[:, -1], **place), torch.tensor(var[:, -1], **place))


def _add_end(spread: Spread, belief: Belief, failed: Tensor | None = None) -> int:
    """Add the variances of those that got to the end; how many did."""
    there = torch.isfinite(belief.mean).all(-1) if failed is None else ~failed
    spread.end += _variances(belief.var[there])
    return int(there.sum())


def _particle_count(env: ImaginedEnv) -> int:
    """P; 0 for a propagation without particles."""
    if env.propagation is None:
        return 0
    carried = env.propagation.carried(env.world_model).get("particles")
    return 0 if carried is None else carried.shape[0]


def room(chunks: tuple[int, int], trajectories: int, numbers: int, kept: int) -> tuple[int, int]:
    """How many trajectories go together, and for how many steps at a time.

    ``chunks`` is how many of both a chunk spans. What all of them have in memory is limited:
    ``numbers`` each, and ``kept`` at each step.
    """
    chunk, steps = chunks
    together = min(trajectories, -(-_TOGETHER // chunk) * chunk)
    if kept:
        steps = min(steps, max(_STEPS, _NUMBERS // kept // _STEPS * _STEPS))
    each = max(numbers, kept * steps)
    if each:
        together = min(together, _NUMBERS // each)
        together -= together % chunk if together > chunk else 0  # whole chunks are written at once
    return max(1, together), steps


def _variances(var: Tensor) -> np.ndarray:
    return as_numpy(var.diagonal(dim1=-2, dim2=-1).double().sum(0))
