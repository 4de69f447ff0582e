"""The env ``tests.benchmarks.hanging_pendulum:PendulumHanging-v1``: Pendulum-v1 from hanging.

Pendulum-v1 begins at any angle, and the bounds that its reset takes lie around upright. Here it
hangs, as in PILCO's and MC-PILCO's swing-ups, within 0.05 in angle and velocity.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv


class HangingPendulum(PendulumEnv):
    """Pendulum-v1 with another initial state."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.state = np.array([np.pi, 0.0]) + self.np_random.uniform(-0.05, 0.05, 2)
        return self._get_obs(), {}


gymnasium.register("PendulumHanging-v1", entry_point=HangingPendulum, max_episode_steps=150)
