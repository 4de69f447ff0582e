"""The noise of a model that gives no variance of its own: standard deviations that it is told."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.errors import InputError

_NUMBERS = (int, float, np.integer, np.floating)


def check_process_noise(
    noise: Any, size: int, dtype: torch.dtype, *, deterministic: bool = True
) -> list[float]:
    """The standard deviations as they were told, ``(D,)``, or none of them.

    Args:
        noise: a list, an array, or None.
        size: D.
        dtype: which the variances must fit in.
        deterministic: whether the model gives no variance of its own.

    Raises:
        InputError: anything but D finite numbers from 0, or any for a model with variances.
    """
    told = noise.tolist() if isinstance(noise, (np.ndarray, Tensor)) else noise
    told = [] if told is None else told
    # A comparison, as a whole number may be too large for a float.
    if not isinstance(told, (list, tuple)) or not all(
        isinstance(sd, _NUMBERS) and 0 <= sd <= sys.float_info.max for sd in told
    ):
        raise InputError(f"the process_noise {noise} must be finite numbers from 0")
    if told and (len(told) != size or not deterministic):
        raise InputError(
            f"process_noise is a standard deviation for each of {size} dimensions, for a model "
            f"that gives no var of its own, not {noise}"
        )
    found = [float(sd) for sd in told]
    if not torch.isfinite(process_variances(found, size, dtype)).all():
        raise InputError(f"the process_noise {noise} has squares that are too large for {dtype}")
    return found


def process_variances(noise: list[float], size: int, dtype: torch.dtype) -> Tensor:
    """The squares of checked standard deviations ``(D,)``; zero where there are none."""
    return torch.tensor(noise or [0.0] * size, dtype=dtype).square()
