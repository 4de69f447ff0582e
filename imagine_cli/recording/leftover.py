"""What an interrupted rollout left, for the one that goes on from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.reader import Rollout
from imagine_cli.recording.schema import RolloutHeader

__all__ = ["Leftover"]


class Leftover:
    """The numbers in a partial file, which is checked to be of the rollout that goes on.

    Args:
        path: the partial file.
        header: of the rollout that goes on.
        used_up: called when nothing of it is needed any more; it may be closed then.

    Attributes:
        header: with what is taken over from the partial file.

    Raises:
        InputError: it can't be read, or is of another rollout.
    """

    def __init__(self, path: Path, header: RolloutHeader, used_up: Callable[[], None]) -> None:
        self._path, self.used_up = path, used_up
        try:
            self._rollout = Rollout(path)
        except InputError as error:
            raise InputError(
                f"{path} can't be gone on from: {error}; leave out --resume to start anew"
            ) from error
        try:
            self.header = self._checked(header)
        except BaseException:
            self._rollout.close()
            raise

    def close(self) -> None:
        self._rollout.close()

    def steps(self, first: int, count: int) -> int:
        """How many steps there are of ``count`` trajectories from number ``first`` on.

        So many have their action and reward, and the belief that they lead to; -1 where there
        isn't even a start.
        """
        return min(
            self._whole(name, first, count) - _starts(name) for name in self._rollout.datasets
        )

    def until(self, there: int) -> int:
        """After how many steps a new file has ``there`` of them in whole chunks, as this one."""
        needed = there
        for name in self._rollout.datasets:
            chunks = self._rollout.dataset(name).chunks
            chunk = chunks[_step_axis(name)] if chunks else 1
            needed = max(needed, -(-(there + _starts(name)) // chunk) * chunk - _starts(name))
        return needed

    def start(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Mean, covariance and, where recorded, particles that so many trajectories start from."""
        rows, old = slice(first, first + count), self._rollout
        particles = None if old.particle_count is None else old.particles(rows, 0)
        return old.mean(rows, 0), old.var(rows, 0), particles

    def block(self, first: int, count: int, step: int, length: int) -> dict[str, Any]:
        """``length`` steps from ``step`` on, as :meth:`RolloutWriter.write` takes them."""
        rows, old = slice(first, first + count), self._rollout
        now, after = slice(step, step + length), slice(step + 1, step + length + 1)

        def there(name: str) -> np.ndarray | None:
            return old.numbers(name, rows, now) if name in old else None

        return {
            "observation_mean": old.mean(rows, after),
            "observation_var": old.var(rows, after),
            "action_mean": old.action_mean(rows, now),
            "action_var": there("action/var"),
            "reward_mean": there("reward/mean"),
            "reward_var": there("reward/var"),
            "particles": None if old.particle_count is None else old.particles(rows, after),
        }

    def _whole(self, name: str, first: int, count: int) -> int:
        """How many steps of a dataset, from 0 on, are in whole chunks of these trajectories."""
        dataset = self._rollout.dataset(name)
        chunks, shape = dataset.chunks, dataset.shape
        last = first + count
        # A chunk that other trajectories share may be there without these.
        if not chunks or first % chunks[0] or (last % chunks[0] and last != shape[0]):
            return 0
        axis = _step_axis(name)
        particles = range(0, shape[1], chunks[1]) if axis == 2 else (None,)
        rest = (0,) * (len(shape) - axis - 1)
        for step in range(0, shape[axis], chunks[axis]):
            for row in range(first, last, chunks[0]):
                for particle in particles:
                    place = (row, *(() if particle is None else (particle,)), step, *rest)
                    if dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
                        return step
        return int(shape[axis])

    def _checked(self, header: RolloutHeader) -> RolloutHeader:
        theirs = self._rollout.attributes
        created, command = (str(theirs.get(name, "")) for name in ("created", "command"))
        header = replace(header, created=created, command=command)
        ours: dict[str, Any] = header.attributes()
        for name in sorted({*ours, *theirs} - {"complete"}):
            a, b = theirs.get(name), ours.get(name)
            if a is None or b is None or str(a) != str(b):
                name, a, b = _first_difference(name, a, b)
                raise InputError(
                    f"{self._path} is of another rollout: its {name} is {_said(a)}, and now it is "
                    f"{_said(b)}; give the arguments it was begun with, or leave out --resume to "
                    "start anew"
                )
        return header


def _step_axis(name: str) -> int:
    return 2 if name.startswith("particles") else 1


def _starts(name: str) -> int:
    """How many of a dataset's steps are before the first one that is imagined."""
    return int(name.startswith(("observation", "particles")))


def _first_difference(name: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    """Of two JSON objects the first key that differs, with its values."""
    try:
        one, other = json.loads(str(a)), json.loads(str(b))
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                option = "compile" if key == "compiled" else key.replace("_", "-")
                return f"--{option}", one.get(key), other.get(key)
    except (ValueError, TypeError, AttributeError):
        pass
    return name, a, b


def _said(value: Any) -> str:
    text = "missing" if value is None else repr(str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
