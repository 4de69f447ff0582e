"""An ``.npz`` file of transitions, as ``numpy.savez`` writes it.

Its arrays, N rows each in order of time: ``observations`` ``(N, D)``; ``actions`` ``(N, F)``, or
``(N,)`` where F is 1, or the numbers of discrete choices; ``next_observations`` ``(N, D)``; and if
known ``rewards`` ``(N,)`` and ``episode`` ``(N,)``, whole numbers that change where an episode
begins. Others are not looked at. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.files.npz import check_npz
from imagine_cli.fitting.data.recording import Recording

_NEEDED = ("observations", "actions", "next_observations")
_KNOWN = (*_NEEDED, "rewards", "episode")


def recognises(path: Path) -> bool:
    """Whether its name says so, or it is a zip of arrays."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{_NEEDED[0]}.npy" in archive.namelist()
    except Exception:  # whatever a file made of arbitrary bytes can provoke
        return False


def read(path: Path) -> Recording:
    """Its transitions. Raises InputError."""
    arrays = _arrays(path)
    count = len(arrays["observations"])
    for name, array in arrays.items():
        if len(array) != count:
            raise InputError(
                f"{path}: {name} has {len(array)} rows and observations has {count}; every array "
                "has a row for each transition"
            )
    for name in ("rewards", "episode"):
        if name in arrays:
            arrays[name] = _column(arrays[name], name, path)
    if "episode" in arrays and arrays["episode"].dtype.kind not in "iu":
        raise InputError(f"{path}: episode holds {arrays['episode'].dtype}, not whole numbers")
    return Recording(
        path=path,
        format="npz",
        sha256=sha256_of(path),
        observations=arrays["observations"],
        actions=arrays["actions"],
        next_observations=arrays["next_observations"],
        rewards=arrays.get("rewards"),
        episode=arrays.get("episode"),
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        check_npz(path)
        with np.load(path, allow_pickle=False) as archive:
            there = list(archive.files)
            missing = [name for name in _NEEDED if name not in there]
            if missing:
                raise InputError(
                    f"{path} has no array {' and no '.join(missing)} (it has "
                    f"{', '.join(there) or 'none'}); save it with numpy.savez(path, "
                    "observations=..., actions=..., next_observations=...)"
                )
            arrays = {name: np.asarray(archive[name]) for name in _KNOWN if name in there}
    except InputError:
        raise
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = (
            "it holds Python objects"
            if "pickle" in str(error).lower()
            else "it is damaged, or numpy.savez did not write it"
        )
        raise InputError(f"{path} can't be read as .npz: {reason}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not array.ndim:
            raise InputError(
                f"{path}: {name} holds {array.dtype} of shape {array.shape}, not a row of numbers "
                "for each transition"
            )
    return arrays


def _column(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if array.shape not in ((len(array),), (len(array), 1)):
        raise InputError(f"{path}: {name} has the shape {array.shape}, not ({len(array)},)")
    return array.reshape(-1)
