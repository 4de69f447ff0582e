"""A rollout's transitions as NumPy's npz, under the names that d4rl's users know."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from imagine_cli.export.episodes import held, is_imagined
from imagine_cli.recording import Rollout


def write(rollout: Rollout, file: BinaryIO) -> None:
    """A row for each transition; ``imagined`` is there where it is no real run."""
    whole = held(rollout)
    arrays = {
        "observations": [e.mean[:-1] for e in whole],
        "observation_sds": [e.sd[:-1] for e in whole],
        "actions": [e.action for e in whole],
        "next_observations": [e.mean[1:] for e in whole],
        "next_observation_sds": [e.sd[1:] for e in whole],
        "rewards": [e.reward for e in whole if e.reward is not None],
        "episode": [np.full(len(e.action), e.number) for e in whole],
    }
    if is_imagined(rollout):
        arrays["imagined"] = [np.ones(len(e.action), dtype=bool) for e in whole]
    known = {name: np.concatenate(parts) for name, parts in arrays.items() if parts}
    np.savez_compressed(file, **known)  # type: ignore[arg-type]
