"""Recorded transitions, whatever the format of their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recording:
    """N recorded transitions in order of time, as the file has them, not checked against an env.

    Attributes:
        path: as it was named.
        format: of the file: a name in ``DATA_FORMATS``.
        sha256: of the file with the numbers.
        observations, next_observations: ``(N, D)``.
        actions: ``(N, ...)``; see :func:`~imagine_cli.transitions.actions.encode`.
        rewards: ``(N,)``, None where there are none.
        episode: ``(N,)`` whole numbers, another one wherever an episode begins; None if unknown.
        env_id, env_kwargs: what the file says of its env, None where it says nothing.
        part: what the format calls an episode; empty where transitions are rows.
        imagined: whether they are what a world model believes, and not what an env did.
        steps: the most that an episode could have had; None where the file doesn't say.
        policy, seed: of the run, None where the file says nothing.
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
    imagined: bool = False
    steps: int | None = None
    policy: str | None = None
    seed: int | None = None

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
