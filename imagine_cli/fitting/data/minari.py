"""A Minari dataset: the folder that has ``data/main_data.hdf5``, read without minari itself.

The file has a group ``episode_0``, ``episode_1``, ... for each episode, with ``observations``
``(T+1, D)``, ``actions`` ``(T, ...)`` and ``rewards`` ``(T,)``; ``metadata.json`` beside it (before
Minari 0.5 the file's root attributes) has the env's spec as JSON under ``env_spec``.
https://minari.farama.org/content/dataset_standards
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.files.json_file import read_json
from imagine_cli.fitting.data.recording import Recording
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.probe import check_survives

_MAIN = "main_data.hdf5"
_METADATA = "metadata.json"
_EPISODE = re.compile(r"episode_(0|[1-9]\d{0,14})")
_DATASETS = ("observations", "actions", "rewards")
# Episodes that are looked into before any is read: a second's work.
_TRIED = 1000


def recognises(path: Path) -> bool:
    """Whether it is a dataset's folder, the folder ``data`` in it, or the file in that."""
    return _data_folder(path) is not None


def _data_folder(path: Path) -> Path | None:
    if path.name == _MAIN and path.is_file():
        return path.parent
    for folder in (path / "data", path):
        if (folder / _MAIN).is_file() or (folder / _METADATA).is_file():
            return folder
    return None


def read(path: Path) -> Recording:
    """Its transitions, episode after episode. Raises InputError."""
    folder = _data_folder(path)
    assert folder is not None, "recognises was asked first"
    for name in (_MAIN, _METADATA):
        _check_inside(folder / name, path)
    main, metadata = folder / _MAIN, _metadata(folder / _METADATA)
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise InputError(
            f"the Minari dataset {path} is stored as {metadata['data_format']!r}, and imagine "
            "reads hdf5: make it again with data_format='hdf5'"
        )
    check_survives(lambda: _touch(main), main)
    with safe_hdf5.open_file(main) as file:
        metadata = metadata or safe_hdf5.attributes(file, main)
        space = _parsed(metadata.get("observation_space")).get("type", "Box")
        if space != "Box":
            raise InputError(
                f"the Minari dataset {path} has observations of the space {space}; imagine works "
                "on a flat Box: flatten them first"
            )
        numbers = _numbers(file, main)
        if not numbers:
            raise InputError(f"{main} has no episode_0: it is not a Minari dataset")
        episodes = [_episode(file, number, main) for number in numbers]
    sizes = {episode["observations"].shape[1:] for episode in episodes}
    shapes = {episode["actions"].shape[1:] for episode in episodes}
    if len(sizes) > 1 or len(shapes) > 1:
        raise InputError(f"{main} has episodes whose observations or actions differ in shape")
    rewards = [episode["rewards"] for episode in episodes if episode["rewards"] is not None]
    spec = _parsed(metadata.get("env_spec"))
    env_id, env_kwargs = spec.get("id"), spec.get("kwargs")
    return Recording(
        path=path,
        format="minari",
        sha256=sha256_of(main),
        observations=np.concatenate([episode["observations"][:-1] for episode in episodes]),
        actions=np.concatenate([episode["actions"] for episode in episodes]),
        next_observations=np.concatenate([episode["observations"][1:] for episode in episodes]),
        rewards=np.concatenate(rewards) if len(rewards) == len(episodes) else None,
        episode=np.repeat(numbers, [len(episode["actions"]) for episode in episodes]),
        env_id=env_id if isinstance(env_id, str) else None,
        env_kwargs=env_kwargs if isinstance(env_kwargs, dict) else None,
        part="episode",
    )


def _check_inside(part: Path, path: Path) -> None:
    """InputError where a part of the dataset that the user did not name is a link out of it."""
    within = os.path.realpath(path if path.is_dir() else path.parent)
    if part != path and not Path(os.path.realpath(part)).is_relative_to(within):
        raise InputError(f"{part} is a link to somewhere else, which is not followed; copy it here")


def _touch(path: Path) -> None:
    """Read a little of the first episodes."""
    with safe_hdf5.open_file(path) as file:
        safe_hdf5.attributes(file, path)
        for number in _numbers(file, path)[:_TRIED]:
            group = safe_hdf5.child_group(file, f"episode_{number}", path)
            for key in _DATASETS:
                dataset = safe_hdf5.child_dataset(group, key, path)
                if dataset is not None:
                    safe_hdf5.read(dataset, slice(1), path)


def _numbers(file: Any, path: Path) -> list[int]:
    try:
        names = [str(name) for name in file]
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} is damaged: what is in it can't be listed") from error
    return sorted(int(found[1]) for found in map(_EPISODE.fullmatch, names) if found)


def _episode(file: Any, number: int, path: Path) -> dict[str, Any]:
    name = f"episode_{number}"
    group = safe_hdf5.child_group(file, name, path)
    found: dict[str, Any] = {}
    for key in _DATASETS:
        dataset = safe_hdf5.child_dataset(group, key, path)
        if dataset is None and key != "rewards":
            raise InputError(f"{path}: {name} has no dataset {key}")
        if dataset is not None and dataset.dtype.kind not in "fiub":
            raise InputError(f"{path}: {key} of {name} hold {dataset.dtype}, not numbers")
        found[key] = None if dataset is None else safe_hdf5.read(dataset, (), path)
    steps = len(found["actions"]) if found["actions"].ndim else -1
    observations, rewards = found["observations"], found["rewards"]
    if observations.ndim != 2 or len(observations) != steps + 1:
        raise InputError(
            f"{path}: {name} has observations of shape {observations.shape} and actions of shape "
            f"{found['actions'].shape}; imagine works on observations (T+1, D) with T actions"
        )
    if rewards is not None and rewards.shape != (steps,):
        raise InputError(
            f"{path}: {name} has rewards of shape {rewards.shape}, not one for each of its "
            f"{steps} steps"
        )
    return found


def _metadata(path: Path) -> dict[str, Any]:
    """What the JSON file says; empty where there is none."""
    return read_json(path) if path.is_file() else {}


def _parsed(text: Any) -> dict[str, Any]:
    """JSON in a string, as Minari stores specs; empty where it is none."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
