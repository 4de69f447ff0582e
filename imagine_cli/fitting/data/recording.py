"""Recorded transitions, whatever the format of their file: one format a file of code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.registry import DATA_FORMATS


@dataclass(frozen=True)
class Recording:
    """N recorded transitions in order of time, as the file has them, not checked against an env.

    Attributes:
        path: as it was named.
        format: of the file: ``rollout``, ``minari`` or ``npz``.
        sha256: of the file with the numbers.
        observations, next_observations: ``(N, D)``.
        actions: ``(N, ...)``; see :func:`~imagine_cli.fitting.data.actions.encode`.
        rewards: ``(N,)``, None where there are none.
        episode: ``(N,)`` whole numbers, another one wherever an episode begins; None if unknown.
        env_id, env_kwargs: what the file says of its env, None where it says nothing.
        part: what the format calls an episode; empty where transitions are rows.
    """

    path: Path
    format: str
    sha256: str
    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    rewards: np.ndarray | None
    episode: np.ndarray | None
    env_id: str | None = None
    env_kwargs: dict[str, Any] | None = None
    part: str = ""

    def __len__(self) -> int:
        return len(self.observations)

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint says of it: plain data."""
        return {
            "path": str(self.path),
            "format": self.format,
            "sha256": self.sha256,
            "transitions": len(self),
            "episodes": None if self.episode is None else len(np.unique(self.episode)),
        }

    def place(self, row: int) -> str:
        """Where a transition is, in the file's own terms, for errors."""
        if not self.part or self.episode is None:
            return f"row {row}"
        number = self.episode[row]
        first = int(np.argmax(self.episode == number))
        return f"{self.part} {number}, step {row - first}"


def read_recordings(sources: Iterable[str | Path]) -> list[Recording]:
    """The recorded transitions of each source, in their order.

    Args:
        sources: each a rollout file of a real run (``imagine evaluate --record``), the folder of
            a Minari dataset, or an ``.npz`` file.

    Raises:
        InputError: no such file, one of another format, one that can't be used, or one twice:
            what is fitted to would be scored on too.
    """
    found: list[Recording] = []
    for source in sources:
        new = _read(Path(source))
        for known in found:
            if known.sha256 == new.sha256:
                raise InputError(f"--data {new.path} holds the same as {known.path}; give it once")
        found.append(new)
    if not found:
        raise InputError("there are no data to fit to; give at least one --data")
    return found


def _read(path: Path) -> Recording:
    if not path.exists():
        raise InputError(f"there is no --data {path}")
    for data_format in map(DATA_FORMATS.load, DATA_FORMATS):
        if data_format.recognises(path):
            found: Recording = data_format.read(path)
            if not len(found):
                raise InputError(f"{path} holds no transitions")
            return found
    raise InputError(
        f"--data {path} is none of what can be fitted to: a rollout file of a real run "
        "(imagine evaluate --record real.h5), the folder of a Minari dataset, or an .npz file"
    )
