"""A Minari dataset: the folder that has ``data/metadata.json``, read without minari itself.

The metadata say how the episodes are stored, and the env's spec as JSON under ``env_spec``. Before
Minari 0.5 they were root attributes of ``data/main_data.hdf5``.
https://minari.farama.org/content/dataset_standards
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.files.inside import check_inside
from imagine_cli.files.json_file import read_json
from imagine_cli.transitions import minari_arrow, minari_hdf5
from imagine_cli.transitions.recording import Recording

MARK = "Imagined, not real"
"""How the description of a dataset begins that ``imagine export`` made of an imagined rollout."""

_METADATA = "metadata.json"


def recognises(path: Path) -> bool:
    """Whether it is a dataset's folder, the folder ``data`` in it, or the HDF5 file in that."""
    return _data_folder(path) is not None


def _data_folder(path: Path) -> Path | None:
    if path.name == minari_hdf5.MAIN and path.is_file():
        return path.parent
    for folder in (path / "data", path):
        if (folder / minari_hdf5.MAIN).is_file() or (folder / _METADATA).is_file():
            return folder
    return None


def read(path: Path) -> Recording:
    """Its transitions, episode after episode. Raises InputError."""
    folder = _data_folder(path)
    assert folder is not None, "recognises was asked first"
    metadata = folder / _METADATA
    inside = path if path.is_dir() else folder
    check_inside(metadata, inside)
    said = read_json(metadata) if metadata.is_file() else {}
    main, stored = folder / minari_hdf5.MAIN, str(said.get("data_format", "hdf5"))
    if stored == "hdf5":
        if main != path:
            check_inside(main, inside)
        said = said or minari_hdf5.attributes(main)
    elif stored not in minari_arrow.OPENERS:
        raise InputError(f"the Minari dataset {path} is stored as {stored!r}, which is not known")
    space = _parsed(said.get("observation_space")).get("type", "Box")
    if space != "Box":
        raise InputError(
            f"the Minari dataset {path} has observations of the space {space}; imagine works "
            "on a flat Box: flatten them first"
        )
    if stored == "hdf5":
        files, episodes = [main], minari_hdf5.read(main)
    else:
        files, episodes = minari_arrow.read(folder, stored)
    if not episodes:
        raise InputError(f"{folder} has no episode: it is not a Minari dataset")
    for number, episode in episodes.items():
        _check(episode, f"{path}: episode_{number}")
    found = list(episodes.values())
    for name in ("observations", "actions"):
        if len({episode[name].shape[1:] for episode in found}) > 1:
            raise InputError(f"{path} has episodes whose {name} differ in shape")
    rewards = [episode["rewards"] for episode in found if "rewards" in episode]
    spec = _parsed(said.get("env_spec"))
    env_id, env_kwargs = spec.get("id"), spec.get("kwargs")
    return Recording(
        path=path,
        format="minari",
        sha256=sha256_of(*files),
        observations=np.concatenate([episode["observations"][:-1] for episode in found]),
        actions=np.concatenate([episode["actions"] for episode in found]),
        next_observations=np.concatenate([episode["observations"][1:] for episode in found]),
        rewards=np.concatenate(rewards) if len(rewards) == len(found) else None,
        episode=np.repeat(list(episodes), [len(episode["actions"]) for episode in found]),
        env_id=env_id if isinstance(env_id, str) else None,
        env_kwargs=env_kwargs if isinstance(env_kwargs, dict) else None,
        part="episode",
        imagined=str(said.get("description")).startswith(MARK),
    )


def _check(episode: dict[str, np.ndarray], name: str) -> None:
    for key in ("observations", "actions"):
        if key not in episode:
            raise InputError(f"{name} has no dataset {key}")
    observations, actions = episode["observations"], episode["actions"]
    steps = len(actions) if actions.ndim else -1
    if observations.ndim != 2 or len(observations) != steps + 1:
        raise InputError(
            f"{name} has observations of shape {observations.shape} and actions of shape "
            f"{actions.shape}; imagine works on observations (T+1, D) with T actions"
        )
    if "rewards" in episode and episode["rewards"].shape != (steps,):
        raise InputError(
            f"{name} has rewards of shape {episode['rewards'].shape}, not one for each of its "
            f"{steps} steps"
        )


def _parsed(text: Any) -> dict[str, Any]:
    """JSON in a string, as Minari stores specs; empty where it is none."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
