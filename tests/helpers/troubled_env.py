"""An env whose resets are slow, hang, or kill their process, as files in a folder say.

``slow`` has the seconds; ``hang...`` and ``crash...`` are there for one time each.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

ENV_ID = "tests.helpers.troubled_env:Troubled-v0"


class TroubledEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if (slow := self.folder / "slow").exists():
            time.sleep(float(slow.read_text()))
        for name, trouble in TROUBLES.items():
            for file in self.folder.glob(f"{name}*"):
                try:
                    file.unlink()
                except FileNotFoundError:  # another worker has it
                    continue
                trouble()
        return self.np_random.normal(size=3), {}


def hang() -> None:
    time.sleep(1000)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


TROUBLES = {"hang": hang, "crash": crash}

gymnasium.register("Troubled-v0", entry_point=TroubledEnv)
