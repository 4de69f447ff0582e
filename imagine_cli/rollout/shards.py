"""One shard of a rollout: some steps of some trajectories, from where the shard before it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.errors import InputError
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.recording.fields import FIELDS
from imagine_cli.recording.shard import Shard
from imagine_cli.rollout.nonfinite import (
    CANT_GO_ON,
    Failure,
    blame,
    check_finite,
    mask_failures,
)
from imagine_cli.rollout.position import Position, as_numpy
from imagine_cli.rollout.prepare import PreparedRollout
from imagine_cli.unroll import Step, unroll

OnStep = Callable[[int, Belief], None]
"""Called with how many trajectories went one step on, and their beliefs there."""


@dataclass
class ImaginedShard:
    """What became of a shard.

    Attributes:
        numbers: of each dataset of the file what the shard has of it, see
            :data:`imagine_cli.recording.fields.FIELDS`.
        position: where its trajectories stand at its end, as :meth:`Position.arrays` gives it.
        failures: the trajectories that stopped being finite in it, where these are masked.
    """

    numbers: dict[str, np.ndarray]
    position: dict[str, np.ndarray]
    failures: list[Failure]


@torch.no_grad()
def imagine_shard(
    rollout: PreparedRollout,
    shard: Shard,
    before: dict[str, np.ndarray] | None,
    on_step: OnStep | None = None,
) -> ImaginedShard:
    """Imagine one shard.

    What happens in a trajectory depends on the request and its number alone, not on those that
    are computed beside it.

    Args:
        rollout: what is imagined.
        shard: which trajectories and steps.
        before: where the shard before it ended; None where it begins at step 0.
        on_step: called after each step.

    Raises:
        ImagineError: a belief that is not finite, with the step, trajectory and dimension, unless
            these are masked.
    """
    position, steps = _position(rollout, shard, before), range(shard.first_step, shard.last_step)
    dynamics, policy, names = rollout.dynamics, rollout.policy, rollout.observation_names
    masking = rollout.request.on_nonfinite == "mask"
    failures: list[Failure] = []
    record = _Record(rollout, position)
    if masking:
        taken = mask_failures(
            dynamics, policy, position, steps, names, rollout.action_size, failures
        )
    else:
        states = (position.state, position.policy_state)
        taken = unroll(
            dynamics, policy, position.belief, states, position.noise, len(steps), steps.start
        )
    count, belief = len(position.failed), position.belief
    try:
        for step in taken:
            record.add(step)
            if dynamics.has_reward:
                position.count(dynamics.reward, belief, step)
            belief = step.belief
            if on_step is not None:
                on_step(count, step.belief)
    except InputError:
        raise
    except CANT_GO_ON as error:
        check_finite(record.arrays(), position.first, steps.start, names)
        again = _position(rollout, shard, before)
        raise blame(error, dynamics, policy, again, steps) from error
    numbers = record.arrays()
    if not masking:
        check_finite(numbers, position.first, steps.start, names)
        position.follow(step)
    if steps.stop < rollout.request.steps:
        numbers = {name: _without_end(name, array) for name, array in numbers.items()}
    return ImaginedShard(numbers, position.arrays(), failures)


def _position(
    rollout: PreparedRollout, shard: Shard, before: dict[str, np.ndarray] | None
) -> Position:
    first = shard.first_trajectory
    count = shard.last_trajectory - first
    place: dict[str, Any] = {"dtype": rollout.dtype, "device": rollout.device}
    noise = TrajectoryNoise(rollout.request.seed, first, count, **place)
    if before is not None:
        return Position.from_arrays(before, noise, first, rollout.device)
    belief = Belief(*(torch.tensor(part, **place) for part in rollout.initial(first, count)))
    return Position.at_start(rollout.dynamics, rollout.policy, belief, noise, first)


# A tensor of one step of one trajectory takes many times the memory of its numbers.
_TENSORS = 512


class _Record:
    """The steps of a shard, as the datasets of the file have them."""

    def __init__(self, rollout: PreparedRollout, at: Position) -> None:
        self._fields = rollout.fields
        self._parts: dict[str, list[Tensor | None]] = {name: [] for name in self._fields}
        self._arrays: dict[str, list[np.ndarray]] = {name: [] for name in self._fields}
        self._put("observation/mean", at.belief.mean)
        self._put("observation/var", at.belief.var)
        self._put("particles/observation", at.state.get("particles"))
        # What a step may leave out is NaN: a shape like that of the initial mean's first number.
        size = rollout.action_size
        like = at.belief.mean[:, 0] * torch.nan
        self._unknown = {
            "action/var": like[:, None, None].expand(-1, size, size),
            "reward/mean": like,
            "reward/var": like,
        }

    def add(self, step: Step) -> None:
        """One step: the action, its reward, and the belief that they led to."""
        mean, var, reward, reward_var, _ = step.prediction
        self._put("observation/mean", mean)
        self._put("observation/var", var)
        self._put("action/mean", step.action.mean)
        self._put("action/var", step.action.var)
        self._put("reward/mean", reward)
        self._put("reward/var", reward_var)
        self._put("particles/observation", step.state.get("particles"))

    def _put(self, name: str, part: Tensor | None) -> None:
        if name in self._parts:
            self._parts[name].append(part)
            if len(self._parts[name]) == _TENSORS:
                self._stack(name)

    def _stack(self, name: str) -> None:
        parts, self._parts[name] = self._parts[name], []
        known = [self._unknown[name] if part is None else part for part in parts]
        self._arrays[name].append(as_numpy(torch.stack(known, dim=FIELDS[name].step_axis)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every dataset's; beliefs and particles have one more step, the last one's end."""
        for name, parts in self._parts.items():
            if parts:
                self._stack(name)
        return {
            name: np.concatenate(arrays, FIELDS[name].step_axis)
            for name, arrays in self._arrays.items()
            if arrays
        }


def _without_end(name: str, array: np.ndarray) -> np.ndarray:
    """Without the belief at the end, which is the first one of the shard after it."""
    return np.delete(array, -1, FIELDS[name].step_axis) if FIELDS[name].after else array
