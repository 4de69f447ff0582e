"""A run of ``imagine learn`` as TensorBoard shows it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagine_cli.errors import InputError, require

LOGS = ("tensorboard",)


def check_log(name: str | None) -> None:
    """Raises InputError for a log that there is none of, or whose package is missing."""
    if name is not None and name not in LOGS:
        raise InputError(f"--log {name!r} is not {' or '.join(LOGS)}")
    if name is not None:
        require("tensorboard", "tensorboard")


def log_round(folder: Path, found: Any) -> None:
    """Add a round's numbers, over the real steps up to its end, to what TensorBoard shows."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in asdict(found).items():
            if name not in ("number", "real_steps") and value is not None:
                writer.add_scalar(name, value, found.real_steps)
