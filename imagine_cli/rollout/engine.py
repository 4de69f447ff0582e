"""The loop of an imagined rollout: a policy drives an ImaginedEnv, a recorder sees every step.

Trajectories go in batches and steps in blocks, so that memory is that of one block whatever B
and T are. What happens in a trajectory depends on the seed and its number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.errors import ImagineError
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.policies.base import Policy
from imagine_cli.propagation.base import State
from imagine_cli.propagation.noise import Noise, TrajectoryNoise
from imagine_cli.rollout.starts import Start

__all__ = ["Recorder", "Spread", "imagine_all"]

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


@dataclass
class Spread:
    """Root-mean-square standard deviation over the trajectories, ``(D,)``, at start and end."""

    start: np.ndarray
    end: np.ndarray


@dataclass
class _Block:
    """Room for ``t`` steps of ``b`` trajectories."""

    mean: Tensor
    var: Tensor
    action: Tensor
    action_var: Tensor | None
    reward: Tensor | None
    reward_var: Tensor | None
    particles: Tensor | None

    @classmethod
    def empty(
        cls, b: int, t: int, like: Tensor, actions: int, wanted: dict[str, bool], particles: int
    ) -> _Block:
        size = like.shape[-1]
        return cls(
            mean=like.new_empty((b, t, size)),
            var=like.new_empty((b, t, size, size)),
            action=like.new_empty((b, t, actions)),
            action_var=like.new_empty((b, t, actions, actions)) if wanted["action_var"] else None,
            reward=like.new_empty((b, t)) if wanted["reward"] else None,
            reward_var=like.new_empty((b, t)) if wanted["reward_var"] else None,
            particles=like.new_empty((b, particles, t, size))
            if wanted.get("particles", False)
            else None,
        )


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
    on_step: Callable[[int, Tensor], None] | None = None,
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
        on_step: called with (trajectories advanced by one step, their covariances (b, D, D)).

    Raises:
        ImagineError: a belief that is not finite, with the step, trajectory and dimension.
    """
    particles = _particle_count(env)
    numbers = 0 if env.propagation is None else env.propagation.numbers(env.world_model)
    kept = particles * len(names) if wanted.get("particles", False) else 0
    together, most = _room(recorder, trajectories, numbers, kept)
    total = {"start": np.zeros(len(names)), "end": np.zeros(len(names))}
    for first in range(0, trajectories, together):
        b = min(together, trajectories - first)
        mean, var = start(first, b)
        like = {"dtype": env.belief_dtype, "device": env.device}
        belief = Belief(torch.tensor(mean, **like), torch.tensor(var, **like))
        noise = TrajectoryNoise(seed, first, b, **like)
        state = env.begin(belief, noise)
        drawn = _numpy(state["particles"]) if wanted.get("particles", False) else None
        recorder.write_start(first, _numpy(belief.mean), _numpy(belief.var), drawn)
        total["start"] += _variances(belief)
        policy.start(first, b)
        for step in range(0, steps, most):
            t = min(most, steps - step)
            block = _Block.empty(b, t, belief.mean, action_size, wanted, particles)
            belief, state = _imagine_block(
                env, policy, belief, state, noise, block, first, step, names, on_step
            )
            _check_finite(block, t, first, step, names)
            recorder.write(
                first,
                step,
                observation_mean=_numpy(block.mean),
                observation_var=_numpy(block.var),
                action_mean=_numpy(block.action),
                action_var=None if block.action_var is None else _numpy(block.action_var),
                reward_mean=None if block.reward is None else _numpy(block.reward),
                reward_var=None if block.reward_var is None else _numpy(block.reward_var),
                particles=None if block.particles is None else _numpy(block.particles),
            )
        total["end"] += _variances(belief)
    return Spread(**{when: np.sqrt(sum_ / trajectories) for when, sum_ in total.items()})


def _particle_count(env: ImaginedEnv) -> int:
    """P; 0 for a propagation without particles."""
    if env.propagation is None:
        return 0
    carried = env.propagation.carried(env.world_model).get("particles")
    return 0 if carried is None else carried.shape[0]


def _room(recorder: Recorder, trajectories: int, numbers: int, kept: int) -> tuple[int, int]:
    """How many trajectories go together, and for how many steps at a time.

    What all of them have in memory is limited: ``numbers`` each, and ``kept`` at each step.
    """
    chunk, steps = recorder.trajectory_chunk, recorder.time_chunk
    together = min(trajectories, -(-_TOGETHER // chunk) * chunk)
    if kept:
        steps = min(steps, max(_STEPS, _NUMBERS // kept // _STEPS * _STEPS))
    each = max(numbers, kept * steps)
    if each:
        together = min(together, _NUMBERS // each)
    return max(1, together), steps


def _imagine_block(
    env: ImaginedEnv,
    policy: Policy,
    belief: Belief,
    state: State,
    noise: Noise,
    block: _Block,
    first_trajectory: int,
    first_step: int,
    names: list[str],
    on_step: Callable[[int, Tensor], None] | None,
) -> tuple[Belief, State]:
    """As many steps as ``block`` has room for; the belief and the state after the last."""
    b, t = block.mean.shape[:2]
    for k in range(t):
        action = policy.act(first_step + k, belief)
        try:
            prediction, state = env.advance(belief, action, state, noise)
        except ImagineError as error:
            _check_finite(block, k, first_trajectory, first_step, names)
            raise ImagineError(f"at step {first_step + k + 1}: {error}") from error
        belief = Belief(prediction.mean, prediction.var)
        block.mean[:, k] = prediction.mean
        block.var[:, k] = prediction.var
        block.action[:, k] = action.mean
        if block.action_var is not None and action.var is not None:
            block.action_var[:, k] = action.var
        if block.reward is not None and prediction.reward_mean is not None:
            block.reward[:, k] = prediction.reward_mean
        if block.reward_var is not None and prediction.reward_var is not None:
            block.reward_var[:, k] = prediction.reward_var
        if block.particles is not None:
            block.particles[:, :, k] = state["particles"]
        if on_step is not None:
            on_step(b, belief.var)
    return belief, state


def _check_finite(block: _Block, count: int, first: int, first_step: int, names: list[str]) -> None:
    """Raises ImagineError where one of the first ``count`` steps of a block is not finite."""
    mean, var = block.mean[:, :count], block.var[:, :count]
    if torch.isfinite(mean.sum() + var.sum()):
        return
    bad = ~(torch.isfinite(mean) & torch.isfinite(var).all(-1))
    if not bad.any():  # the sum alone overflowed
        return
    step = int(bad.any(-1).any(0).nonzero()[0])
    trajectory = int(bad[:, step].any(-1).nonzero()[0])
    dimension = int(bad[trajectory, step].nonzero()[0])
    raise ImagineError(
        f"the belief is not finite at step {first_step + step + 1} of trajectory "
        f"{first + trajectory}, dimension {names[dimension]}: the model leaves the numbers it was "
        "made for; take fewer --steps, or another --start or --policy"
    )


def _variances(belief: Belief) -> np.ndarray:
    return _numpy(belief.var.diagonal(dim1=-2, dim2=-1).double().sum(0))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
