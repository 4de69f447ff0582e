"""Minari's episodes as Arrow or Parquet: a folder ``0``, ``1``, ... for each, with its files.

A row for each observation; the action and the reward of the last are padding.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.inside import check_inside
from imagine_cli.recording.probe import check_survives
from imagine_cli.transitions.arrow import arrow_columns, parquet_columns

OPENERS = {"arrow": arrow_columns, "parquet": parquet_columns}
# Episodes that are read in a copy first: a second's work.
_TRIED = 1000
_COLUMNS = ("observations", "actions", "rewards")


def read(folder: Path, stored: str) -> tuple[list[Path], dict[int, dict[str, np.ndarray]]]:
    """The files, and the arrays of each episode by its number. Raises InputError."""
    names = (each.name for each in folder.iterdir())
    numbers = sorted(int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,14}", name))
    parts = {number: sorted((folder / str(number)).glob(f"*.{stored}")) for number in numbers}
    files = [file for some in parts.values() for file in some]
    for file in files:
        check_inside(file, folder)
    for number, some in parts.items():
        if not some:
            raise InputError(f"{folder / str(number)} has no .{stored} file")
    few = list(parts.values())[:_TRIED]
    check_survives(lambda: [_episode(some, stored) for some in few], folder, "Arrow")
    return files, {number: _episode(some, stored) for number, some in parts.items()}


def _episode(files: list[Path], stored: str) -> dict[str, np.ndarray]:
    found = [OPENERS[stored](file, _COLUMNS) for file in files]
    joined = {name: np.concatenate([each[name] for each in found]) for name in _COLUMNS}
    return {name: array[: len(array) - (name != "observations")] for name, array in joined.items()}
