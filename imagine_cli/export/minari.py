"""A rollout as a dataset of Minari."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription, env_named, kwargs_named, opened_env
from imagine_cli.errors import ImagineError, InputError, require
from imagine_cli.export.episodes import held, is_imagined
from imagine_cli.recording import Rollout
from imagine_cli.transitions.minari import MARK


def write(
    rollout: Rollout, folder: Path, env: str | None = None, env_kwargs: dict[str, Any] | None = None
) -> None:
    """The dataset that is called as the folder, with the env's spaces."""
    require("minari", "minari")
    kwargs = kwargs_named(rollout.env_kwargs, rollout.path, env_kwargs)
    with opened_env(env_named(rollout.env_id, rollout.path, env), kwargs) as (made, about):
        sizes = (about.observation_size, about.action_size)
        if sizes != (rollout.observation_size, rollout.action_size):
            raise InputError(f"{rollout.path} is of another env than {about.id}")
        buffers = list(_buffers(rollout, made, about))
    what = f"{MARK}: means of beliefs, sd in the infos" if is_imagined(rollout) else "A real run"
    from minari import create_dataset_from_buffers

    with _datasets_in(folder.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an author's address, and the like
        try:
            create_dataset_from_buffers(
                folder.name, buffers, env=made.spec, data_format="hdf5",
                observation_space=made.observation_space, action_space=made.action_space,
                algorithm_name=rollout.policy or "unknown", author="imagine",
                description=f"{what}; {rollout.command}",
            )  # fmt: skip
        except (ValueError, OSError) as error:
            raise ImagineError(f"minari can't write {folder.name}: {error}") from error


def _buffers(rollout: Rollout, env: Any, about: EnvDescription) -> Iterator[Any]:
    """Minari's episodes."""
    from minari.data_collector import EpisodeBuffer

    limit = env.spec.max_episode_steps if env.spec is not None else None
    for episode in held(rollout):
        length = len(episode.action)
        terminated = episode.terminated(rollout, limit)
        yield EpisodeBuffer(
            id=episode.number,
            observations=episode.mean.astype(env.observation_space.dtype),
            actions=np.array([about.decode_action(code) for code in episode.action]),
            rewards=np.full(length, np.nan) if episode.reward is None else episode.reward,
            terminations=terminated,
            truncations=(np.arange(length) == length - 1) & ~terminated,
            infos={"observation_sd": episode.sd} if is_imagined(rollout) else {},
        )


@contextmanager
def _datasets_in(folder: Path) -> Iterator[None]:
    """While it is entered, minari keeps its datasets there."""
    variable = "MINARI_DATASETS_PATH"
    before = os.environ.get(variable)
    os.environ[variable] = str(folder)
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before
