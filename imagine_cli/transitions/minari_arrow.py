"""Minari's episodes as Arrow or Parquet: a folder ``0``, ``1``, ... for each, with its files.

A row for each observation; the action and the reward of the last are padding.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.inside import check_inside
from imagine_cli.transitions.arrow import arrow_columns, parquet_columns

OPENERS = {"arrow": arrow_columns, "parquet": parquet_columns}
_COLUMNS = ("observations", "actions", "rewards")


def read(folder: Path, stored: str) -> tuple[list[Path], dict[int, dict[str, np.ndarray]]]:
    """The files, and the arrays of each episode by its number. Raises InputError."""
    names = (each.name for each in folder.iterdir())
    numbers = sorted(int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,14}", name))
    files: list[Path] = []
    episodes: dict[int, dict[str, np.ndarray]] = {}
    for number in numbers:
        parts = sorted((folder / str(number)).glob(f"*.{stored}"))
        if not parts:
            raise InputError(f"{folder / str(number)} has no .{stored} file")
        for part in parts:
            check_inside(part, folder)
        found = [OPENERS[stored](part, _COLUMNS) for part in parts]
        files += parts
        joined = {name: np.concatenate([each[name] for each in found]) for name in _COLUMNS}
        episodes[number] = {
            name: array if name == "observations" else array[:-1] for name, array in joined.items()
        }
    return files, episodes
