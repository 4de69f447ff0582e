"""Files that have a row for each step: from their columns to transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.transitions.columns import find_columns
from imagine_cli.transitions.recording import Recording

# What is one number a row.
_SINGLE = {"reward", "episode", "end", "imagined"}


@dataclass(frozen=True)
class Rows:
    """Named columns of N rows each, of which only those are read that are needed.

    Attributes:
        path, format, sha256: as a :class:`~imagine_cli.transitions.recording.Recording` has them.
        names: of the columns.
        read: columns by their names, ``(N, ...)`` each; InputError where they are damaged.
    """

    path: Path
    format: str
    sha256: str
    names: Sequence[str]
    read: Callable[[Sequence[str]], Mapping[str, np.ndarray]]

    def recording(self, said: Mapping[str, Sequence[str]]) -> Recording:
        """The transitions. Where the next observation has no column, it is the next row's, and an
        episode's last row is no transition.

        Raises:
            InputError: columns that are missing, of different length, or not of numbers.
        """
        columns = find_columns(self.names, said, self.path)
        found = self.read(list(dict.fromkeys(name for some in columns.values() for name in some)))
        self._check(found)
        parts = {field: [found[name] for name in some] for field, some in columns.items()}
        for field in _SINGLE & parts.keys():
            pairs = zip(columns[field], parts[field], strict=True)
            parts[field] = [self._column(name, array) for name, array in pairs]
        observations, actions = _beside(parts["observation"]), _beside(parts["action"])
        rewards = parts["reward"][0] if "reward" in parts else None
        episode = self._episode(columns, parts)
        if "next_observation" in parts:
            following, kept = _beside(parts["next_observation"]), np.arange(len(observations))
        elif episode is None:
            raise InputError(
                f"{self.path} has neither next observations nor a column that says where an "
                "episode ends, so that the next row may be of another; add one, such as episode"
            )
        else:
            kept = np.flatnonzero(episode[1:] == episode[:-1])
            following = observations[kept + 1]
        return Recording(
            path=self.path,
            format=self.format,
            sha256=self.sha256,
            observations=observations[kept],
            actions=actions[kept],
            next_observations=following,
            rewards=None if rewards is None else rewards[kept],
            episode=None if episode is None else episode[kept],
            imagined="imagined" in parts and bool(parts["imagined"][0].any()),
            part="" if "next_observation" in parts else "episode",
        )

    def _check(self, found: Mapping[str, np.ndarray]) -> None:
        for name, array in found.items():
            if array.dtype.kind not in "fiub" or not array.ndim:
                raise InputError(
                    f"{self.path}: {name} holds {array.dtype} of shape {array.shape}, not a row of "
                    "numbers for each step"
                )
        first, *others = found
        if not len(found[first]):
            raise InputError(f"{self.path} holds no transitions")
        for name in others:
            if len(found[name]) != len(found[first]):
                raise InputError(
                    f"{self.path}: {name} has {len(found[name])} rows and {first} has "
                    f"{len(found[first])}; each has a row for each step"
                )

    def _column(self, name: str, array: np.ndarray) -> np.ndarray:
        if array.size != len(array):
            raise InputError(
                f"{self.path}: {name} has the shape {array.shape}, not ({len(array)},)"
            )
        return array.reshape(-1)

    def _episode(
        self, columns: Mapping[str, list[str]], parts: Mapping[str, list[np.ndarray]]
    ) -> np.ndarray | None:
        """``(N,)`` int64: as the file numbers them, else counted by where they end."""
        if "episode" in parts:
            name, numbers = columns["episode"][0], parts["episode"][0].astype(np.float64)
            if not (np.abs(numbers) < 2**53).all() or (numbers != np.floor(numbers)).any():
                raise InputError(f"{self.path}: {name} holds numbers that are not whole")
            return numbers.astype(np.int64)
        if "end" not in parts:
            return None
        ends = (np.stack(parts["end"]) != 0).any(axis=0)
        return np.cumsum(np.append(0, ends[:-1]))


def _beside(arrays: list[np.ndarray]) -> np.ndarray:
    """Columns of one thing, ``(N, D)``."""
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
