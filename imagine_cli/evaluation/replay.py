"""The engine, fed with what really happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.policies.base import Policy
from imagine_cli.rollout.engine import Recorder

__all__ = ["GivenActions", "Tee"]


class GivenActions(Policy):
    """The actions of a real run, ``(B, T, F)``, whatever is believed."""

    name = "real run"

    def __init__(self, actions: np.ndarray, dtype: torch.dtype, device: torch.device) -> None:
        self._actions, self._dtype, self._device = actions, dtype, device
        self._now = torch.empty(0)

    def start(self, first: int, count: int) -> None:
        some = self._actions[first : first + count]
        self._now = torch.tensor(some, dtype=self._dtype, device=self._device)

    def act(self, step: int, observation: Belief) -> ActionBelief:
        return ActionBelief(self._now[:, step])


class Tee:
    """Two recorders that see the same; the second one says how long blocks are."""

    def __init__(self, first: Recorder, second: Recorder) -> None:
        self._both = (first, second)
        self.time_chunk, self.trajectory_chunk = second.time_chunk, second.trajectory_chunk

    def write_start(
        self,
        first_trajectory: int,
        mean: np.ndarray,
        var: np.ndarray,
        particles: np.ndarray | None = None,
    ) -> None:
        for recorder in self._both:
            recorder.write_start(first_trajectory, mean, var, particles)

    def write(self, first_trajectory: int, first_step: int, **blocks: Any) -> None:
        for recorder in self._both:
            recorder.write(first_trajectory, first_step, **blocks)
