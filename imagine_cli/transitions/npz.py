"""An ``.npz`` file of arrays with a row for each step, as ``numpy.savez`` writes it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.files.unpacked import check_npz
from imagine_cli.transitions.columns import USUAL
from imagine_cli.transitions.rows import Rows

_Found = TypeVar("_Found")


def recognises(path: Path) -> bool:
    """Whether its name says so, or it is a zip of arrays."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception:  # whatever a file made of arbitrary bytes can provoke
        return False
    return any(f"{name}.npy" in members for name in USUAL["observation"])


def read(path: Path) -> Rows:
    """Its arrays. Nothing is unpickled. Raises InputError."""
    names = _opened(path, lambda archive: list(archive.files))

    def arrays(names: Sequence[str]) -> dict[str, np.ndarray]:
        return _opened(path, lambda archive: {name: np.asarray(archive[name]) for name in names})

    return Rows(path, "npz", sha256_of(path), names, arrays)


def _opened(path: Path, work: Callable[[Any], _Found]) -> _Found:
    try:
        check_npz(path)
        with np.load(path, allow_pickle=False) as archive:
            return work(archive)
    except InputError:
        raise
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = (
            "it holds Python objects"
            if "pickle" in str(error).lower()
            else "it is damaged, or numpy.savez did not write it"
        )
        raise InputError(f"{path} can't be read as .npz: {reason}") from error
