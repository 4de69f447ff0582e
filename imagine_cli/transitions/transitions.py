"""Steps of a real env, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from imagine_cli.rollout.real import RealStep


@dataclass(frozen=True)
class Transitions:
    """N steps of a real env, all float64 but ``episode``.

    Attributes:
        observations: ``(N, D)``.
        actions: ``(N, F)``, one-hot where the env's are discrete.
        next_observations: ``(N, D)``; where an episode ends, the observation it ended with.
        rewards: ``(N,)``.
        episode: ``(N,)`` int64, the number of the reset that a step's episode began with.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    rewards: np.ndarray
    episode: np.ndarray

    @classmethod
    def of(cls, steps: Sequence[RealStep], episode: Sequence[int]) -> Transitions:
        """Of steps that an env took, each with the number of its episode."""
        observations, actions, following, rewards, *_ = (
            np.array(column, np.float64) for column in zip(*steps, strict=True)
        )
        return cls(observations, actions, following, rewards, np.array(episode, np.int64))

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, rows: Any) -> Transitions:
        """Those of the rows, by slice, mask or indices."""
        return Transitions(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def inputs(self) -> np.ndarray:
        """Observations and actions side by side, ``(N, D+F)``."""
        return np.concatenate([self.observations, self.actions], axis=1)

    @property
    def differences(self) -> np.ndarray:
        """Next observation minus observation, ``(N, D)``."""
        return np.asarray(self.next_observations - self.observations)

    def targets(self, reward: bool) -> np.ndarray:
        """What is fitted to: the differences, ``(N, D)``, and last the reward, where asked for."""
        if not reward:
            return self.differences
        return np.concatenate([self.differences, self.rewards[:, None]], axis=1)
