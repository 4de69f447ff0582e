"""An HDF5 file of datasets with a row for each step, as d4rl and other benchmarks have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.probe import check_survives
from imagine_cli.transitions.rows import Rows


def recognises(path: Path) -> bool:
    """Whether it is HDF5: after all formats that say what they are."""
    return path.is_file() and bool(h5py.is_hdf5(path))


def read(path: Path) -> Rows:
    """Its datasets, not those in groups. Raises InputError."""

    def arrays(names: Sequence[str]) -> dict[str, np.ndarray]:
        check_survives(lambda: _arrays(path, names, slice(1)), path)
        return _arrays(path, names, slice(None))

    check_survives(lambda: _names(path), path)
    return Rows(path, "hdf5", sha256_of(path), _names(path), arrays)


def _names(path: Path) -> list[str]:
    with safe_hdf5.open_file(path) as file:
        return safe_hdf5.names(file, path)


def _arrays(path: Path, names: Sequence[str], rows: slice) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with safe_hdf5.open_file(path) as file:
        for name in names:
            dataset = safe_hdf5.child_dataset(file, name, path)
            if dataset is None or dataset.dtype.kind not in "fiub" or not dataset.shape:
                raise InputError(f"{path}: {name} is no dataset of numbers, a row for each step")
            found[name] = safe_hdf5.read(dataset, rows, path)
    return found
