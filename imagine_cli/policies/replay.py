"""The policy of a file of actions: they are replayed as they stand in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.action_files import ActionFile, RolloutFile, open_actions
from imagine_cli.policies.actions import is_one_hot, one_hot, outside_bounds
from imagine_cli.policies.base import Policy, PolicyContext, PolicyState
from imagine_cli.policies.blocks import BLOCK, BlockPolicy

# check() looks at so many numbers at a time.
_PIECE = 2**20


class ReplayPolicy(BlockPolicy):
    """Actions from a file, ``(T, F)`` for every trajectory or ``(B, T, F)``, one row for each.

    ``(T,)`` will do where an action is one number. For a discrete env each action is either
    one-hot, ``F`` zeros and ones, or one integer for each choice. Numbers outside the env's
    bounds are refused, except in a rollout file: it is replayed as it was imagined.

    Raises InputError from the constructor (shapes), :meth:`check` and :meth:`begin`.
    """

    def __init__(
        self,
        file: ActionFile,
        env: EnvDescription,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dtype, device)
        self._file = file
        self._env = env
        self._strict = not isinstance(file, RolloutFile)
        shape = file.shape
        if len(shape) == 1:
            shape = (*shape, 1)
        if shape[-1] not in (needed := {env.action_size, len(env.choices) or env.action_size}):
            raise InputError(
                f"{file.path} holds actions of {shape[-1]} numbers (shape {file.shape}); "
                f"those of env {env.id!r} have {' or '.join(map(str, sorted(needed)))}"
            )
        self._numbers = env.is_discrete and shape[-1] != env.action_size
        self._width = shape[-1]
        self.steps = shape[-2]
        self.trajectories = shape[0] if len(shape) == 3 else None

    def check(self, steps: int, trajectories: int) -> None:
        if steps > self.steps:
            raise InputError(
                f"{self._file.path} holds {self.steps} steps of actions and {steps} are needed; "
                f"give --steps {self.steps} or less, or a longer file"
            )
        self._check_trajectories(trajectories)
        rows = 1 if self.trajectories is None else trajectories
        some = max(1, _PIECE // (BLOCK * self._width))
        for begin in range(0, steps, BLOCK):
            for first in range(0, rows, some):
                self._take(first, min(rows, first + some), begin, min(steps, begin + BLOCK))

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        self._check_trajectories(int(trajectories.max()) + 1)
        return super().begin(observation, trajectories)

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        if step >= self.steps:
            raise InputError(f"{self._file.path} holds {self.steps} steps of actions, no more")
        return super().act(step, observation, state)

    def block(self, trajectories: np.ndarray, begin: int) -> np.ndarray:
        end = min(begin + BLOCK, self.steps)
        if self.trajectories is None:
            return np.repeat(self._take(0, 1, begin, end), len(trajectories), axis=0)
        first = int(trajectories.min())
        rows = self._take(first, int(trajectories.max()) + 1, begin, end)
        return np.asarray(rows[trajectories - first])

    def _check_trajectories(self, needed: int) -> None:
        if self.trajectories is not None and needed > self.trajectories:
            raise InputError(
                f"{self._file.path} holds actions for {self.trajectories} trajectories and "
                f"{needed} are needed; give --trajectories {self.trajectories} or less"
            )

    def _take(self, first: int, last: int, begin: int, end: int) -> np.ndarray:
        """Rows ``first`` to ``last - 1``, steps ``begin`` to ``end - 1``: ``(R, S, F)``, valid."""
        steps = slice(begin, end)
        index = (steps,) if self.trajectories is None else (slice(first, last), steps)
        values = self._file.read(*index).reshape(last - first, end - begin, self._width)
        origin = (first, begin)
        self._refuse(~np.isfinite(values).all(axis=-1), origin, values, "is not finite")
        env = self._env
        if self._numbers:
            largest = np.array(env.choices) - 1.0
            wrong = np.not_equal(values, np.clip(np.floor(values), 0.0, largest)).any(axis=-1)
            why = f"is not made of integers from 0 to {_list(largest)}"
            self._refuse(wrong, origin, values, why)
            return one_hot(values.astype(np.int64), env.choices)
        if env.is_discrete:
            wrong = ~is_one_hot(values, env.choices)
            self._refuse(wrong, origin, values, f"is not one-hot over {env.choices}")
        elif self._strict:
            wrong = np.asarray(outside_bounds(values, env).any(axis=-1))
            low, high = _list(env.action_low), _list(env.action_high)
            self._refuse(
                wrong, origin, values, f"is outside the bounds {low} to {high} of env {env.id!r}"
            )
            values = np.clip(values, env.action_low, env.action_high)
        return values

    def _refuse(
        self, wrong: np.ndarray, origin: tuple[int, int], values: np.ndarray, why: str
    ) -> None:
        if not wrong.any():
            return
        row, step = (int(k) for k in np.argwhere(wrong)[0])
        where = "" if self.trajectories is None else f"of trajectory {origin[0] + row} "
        raise InputError(
            f"{self._file.path}: the action {where}at step {origin[1] + step} (counted from 0), "
            f"{_list(values[row, step])}, {why}"
        )


class GivenActions(Policy):
    """Actions in memory, ``(B, T, F)``: trajectory k's are row k, whatever is believed.

    Args:
        name: whose they are; goes into the rollout file.
    """

    def __init__(self, actions: Tensor, name: str) -> None:
        self.name, self._actions = name, actions

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        return {"trajectory": trajectories}

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return ActionBelief(self._actions[state["trajectory"], step].to(observation.mean)), state


def _list(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"


def make(argument: str, context: PolicyContext) -> ReplayPolicy:
    """A path ending in .npy, .csv, .h5 or .hdf5."""
    file = open_actions(Path(argument))
    return ReplayPolicy(file, context.env, context.dtype, context.device)
