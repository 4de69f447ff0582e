"""How long each trajectory of a recorded real run is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError


def real_lengths(observations: np.ndarray, path: str | Path) -> np.ndarray:
    """Steps of each trajectory ``(B,)`` int64, where ``(B, T+1, D)`` is NaN after their ends.

    Raises InputError, with ``path``, where something is missing before an end.
    """
    there: np.ndarray = np.asarray(np.isfinite(observations).all(-1))
    lengths = np.where(there.all(1), there.shape[1], np.argmin(there, axis=1)) - 1
    after = np.arange(there.shape[1]) > lengths[:, None]
    if (lengths < 0).any() or (there & after).any():
        k = int(np.argmax((lengths < 0) | (there & after).any(1)))
        raise InputError(f"{path}: trajectory {k} has an observation missing before its end")
    return np.asarray(lengths, dtype=np.int64)
