"""Whether a file that is about to be begun can fit on its disk at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from imagine_cli.errors import InputError

__all__ = ["check_room"]

# Means are not known to compress to less than this part.
_SMALLEST = 20


def check_room(target: Path, trajectories: int, steps: int, row_bytes: int) -> None:
    """InputError where means of ``row_bytes`` for each step can't be held, however compressed."""
    wanted = trajectories * (steps + 1) * row_bytes
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return
    if wanted > _SMALLEST * free:
        raise InputError(
            f"{trajectories} trajectories of {steps} steps have means of {wanted / 1e9:,.0f} GB "
            f"alone, and {target.parent} has room for {free / 1e9:,.0f} GB; take fewer"
        )
