"""Minari's episodes as HDF5: a group ``episode_0``, ``episode_1``, ... for each in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.probe import check_survives

MAIN = "main_data.hdf5"

_EPISODE = re.compile(r"episode_(0|[1-9]\d{0,14})")
_DATASETS = ("observations", "actions", "rewards")
# Episodes that are looked into before any is read: a second's work.
_TRIED = 1000


def attributes(main: Path) -> dict[str, Any]:
    """Of the file, among them the metadata of before Minari 0.5. Raises InputError."""
    check_survives(lambda: _touch(main), main)
    with safe_hdf5.open_file(main) as file:
        return safe_hdf5.attributes(file, main)


def read(main: Path) -> dict[int, dict[str, np.ndarray]]:
    """Arrays of each episode by its number. Raises InputError."""
    check_survives(lambda: _touch(main), main)
    with safe_hdf5.open_file(main) as file:
        return {number: _episode(file, number, main) for number in _numbers(file, main)}


def _touch(path: Path) -> None:
    """Read a little of the first episodes."""
    with safe_hdf5.open_file(path) as file:
        safe_hdf5.attributes(file, path)
        for number in _numbers(file, path)[:_TRIED]:
            _episode(file, number, path, slice(1))


def _numbers(file: Any, path: Path) -> list[int]:
    found = map(_EPISODE.fullmatch, safe_hdf5.names(file, path))
    return sorted(int(match[1]) for match in found if match)


def _episode(
    file: Any, number: int, path: Path, rows: slice | tuple[()] = ()
) -> dict[str, np.ndarray]:
    name = f"episode_{number}"
    group = safe_hdf5.child_group(file, name, path)
    if group is None:
        raise InputError(f"{path} is damaged: {name} is not there")
    found: dict[str, np.ndarray] = {}
    for key in _DATASETS:
        dataset = safe_hdf5.child_dataset(group, key, path)
        if dataset is not None and dataset.dtype.kind not in "fiub":
            raise InputError(f"{path}: {key} of {name} hold {dataset.dtype}, not numbers")
        if dataset is not None:
            found[key] = safe_hdf5.read(dataset, rows, path)
    return found
