"""A rollout for other tools: a table (CSV, Parquet), NumPy's npz, or a dataset of Minari."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from imagine_cli.environments import EnvDescription, env_named, kwargs_named, opened_env
from imagine_cli.errors import ImagineError, InputError, require
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.memory import check_memory
from imagine_cli.printable import printable, spreadsheet_text
from imagine_cli.recording import Rollout, open_rollout
from imagine_cli.recording.real_lengths import real_lengths


class Episode(NamedTuple):
    """One trajectory up to its end, of L steps, float64.

    Attributes:
        number: which one.
        mean, sd: of the observations ``(L+1, D)``; a real run's standard deviations are zero.
        action: means ``(L, F)``; one-hot where discrete.
        reward: means ``(L,)``; None where the file has none.
    """

    number: int
    mean: np.ndarray
    sd: np.ndarray
    action: np.ndarray
    reward: np.ndarray | None


def export_rollout(
    rollout: str | Path,
    path: str | Path,
    *,
    env: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the means and standard deviations of a rollout's trajectories, each up to its end.

    Args:
        rollout: a rollout file, imagined or of a real run.
        path: ``.csv`` or ``.parquet``, a row for each step; ``.npz`` of transitions, as ``imagine
            fit --data`` and d4rl's users name them; or a folder named as Minari names a dataset,
            ``imagined-v0``, in the folder that ``MINARI_DATASETS_PATH`` says to Minari.
        env, env_kwargs: for Minari, whose datasets say spaces; what the file says if None.
        overwrite: replace a file that is there; never a folder.

    Raises:
        InputError: no such format; a file without actions, or that can't be read or written.
        ImagineError: the disk refused.
    """
    source, target = Path(rollout), Path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is not None:
        check_writable(target, overwrite)
    elif not re.fullmatch(r"[\w-]+-v\d+", target.name):
        raise InputError(
            f"a rollout is exported to {', '.join(_WRITERS)} or a folder such as imagined-v0, and "
            f"not to {target}"
        )
    elif target.exists():
        raise InputError(f"{target} exists; name another folder, as none is replaced")
    elif not target.parent.is_dir():
        raise InputError(f"the output folder {target.parent} does not exist; make it first")
    with open_rollout(source) as opened:
        if "action/mean" not in opened:
            raise InputError(f"{source} has no dataset action/mean, so there are no transitions")
        if write is None:
            _write_minari(opened, target, env, env_kwargs)
            return
        with whole_file(target, overwrite=overwrite) as file:
            write(opened, file)


def episodes(rollout: Rollout) -> Iterator[Episode]:
    """One after the other, as they are read."""
    for k in range(rollout.trajectories):
        mean = rollout.mean(k).astype(np.float64)
        length = int(real_lengths(mean[None], rollout.path)[0])
        var = np.diagonal(rollout.var(k, slice(length + 1)), axis1=-2, axis2=-1)
        reward = rollout.reward_mean(k, slice(length)) if "reward/mean" in rollout else None
        yield Episode(
            k,
            mean[: length + 1],
            np.sqrt(var.astype(np.float64)),
            rollout.action_mean(k, slice(length)).astype(np.float64),
            None if reward is None else reward.astype(np.float64),
        )


def _names(rollout: Rollout) -> list[str]:
    """Of the columns of a table."""
    spreads = (f"sd {name}" for name in rollout.observation_names)
    actions = (f"action {name}" for name in rollout.action_names)
    reward = ["reward"] if "reward/mean" in rollout else []
    return ["trajectory", "step", *rollout.observation_names, *spreads, *actions, *reward]


def _columns(episode: Episode) -> list[np.ndarray]:
    """``(L+1,)`` each; the last step has no action and no reward, so NaN there."""
    rows = len(episode.mean)
    action = np.pad(episode.action, [(0, 1), (0, 0)], constant_values=np.nan)
    reward = [] if episode.reward is None else [np.append(episode.reward, np.nan)]
    numbers = [np.full(rows, episode.number), np.arange(rows)]
    return [*numbers, *episode.mean.T, *episode.sd.T, *action.T, *reward]


def _write_csv(rollout: Rollout, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(spreadsheet_text, _names(rollout)))
    for episode in episodes(rollout):
        writer.writerows(zip(*(column.tolist() for column in _columns(episode)), strict=True))
    text.flush()
    text.detach()


def _write_parquet(rollout: Rollout, file: BinaryIO) -> None:
    require("parquet", "pyarrow")
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    names = [printable(name) for name in _names(rollout)]
    pieces = (pyarrow.table(_columns(episode), names) for episode in episodes(rollout))
    first = next(pieces)
    with ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def _write_npz(rollout: Rollout, file: BinaryIO) -> None:
    whole = _held(rollout)
    arrays = {
        "observations": [e.mean[:-1] for e in whole],
        "observation_sds": [e.sd[:-1] for e in whole],
        "actions": [e.action for e in whole],
        "next_observations": [e.mean[1:] for e in whole],
        "next_observation_sds": [e.sd[1:] for e in whole],
        "rewards": [e.reward for e in whole if e.reward is not None],
        "episode": [np.full(len(e.action), e.number) for e in whole],
    }
    known = {name: np.concatenate(parts) for name, parts in arrays.items() if parts}
    np.savez_compressed(file, **known)  # type: ignore[arg-type]


def _write_minari(
    rollout: Rollout, folder: Path, env: str | None, env_kwargs: dict[str, Any] | None
) -> None:
    require("minari", "minari")
    kwargs = kwargs_named(rollout.env_kwargs, rollout.path, env_kwargs)
    with opened_env(env_named(rollout.env_id, rollout.path, env), kwargs) as (made, about):
        sizes = (about.observation_size, about.action_size)
        if sizes != (rollout.observation_size, rollout.action_size):
            raise InputError(f"{rollout.path} is of another env than {about.id}")
        buffers = list(_buffers(rollout, made, about))
    what = "Imagined, not real: means of beliefs, sd in the infos"
    if rollout.attributes.get("real"):
        what = "A real run"
    from minari import create_dataset_from_buffers

    with _datasets_beside(folder) as hidden, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an author's address, and the like
        try:
            create_dataset_from_buffers(
                folder.name, buffers, env=made.spec, data_format="hdf5",
                observation_space=made.observation_space, action_space=made.action_space,
                algorithm_name=rollout.policy or "unknown", author="imagine",
                description=f"{what}; {rollout.command}",
            )  # fmt: skip
        except (ValueError, OSError) as error:
            raise ImagineError(f"minari can't write {folder}: {error}") from error
        os.rename(hidden / folder.name, folder)


def _buffers(rollout: Rollout, env: Any, about: EnvDescription) -> Iterator[Any]:
    """Minari's episodes."""
    from minari.data_collector import EpisodeBuffer

    real = bool(rollout.attributes.get("real"))
    limit = env.spec.max_episode_steps if env.spec is not None else None
    for episode in _held(rollout):
        length = len(episode.action)
        last = np.arange(length) == length - 1
        ended = real and length not in (rollout.steps, limit)
        yield EpisodeBuffer(
            id=episode.number,
            observations=episode.mean.astype(env.observation_space.dtype),
            actions=np.array([about.decode_action(code) for code in episode.action]),
            rewards=np.full(length, np.nan) if episode.reward is None else episode.reward,
            terminations=last & ended,
            truncations=last & (not ended),
            infos={} if real else {"observation_sd": episode.sd},
        )


@contextmanager
def _datasets_beside(folder: Path) -> Iterator[Path]:
    """A hidden folder in which minari makes its datasets, gone at the end with what is left."""
    variable = "MINARI_DATASETS_PATH"
    before = os.environ.get(variable)
    with tempfile.TemporaryDirectory(dir=folder.parent.absolute(), prefix=".") as hidden:
        os.environ[variable] = hidden
        try:
            yield Path(hidden)
        finally:
            del os.environ[variable]
            if before is not None:
                os.environ[variable] = before


def _held(rollout: Rollout) -> list[Episode]:
    """All at once. Raises InputError where memory can't hold them."""
    per_step = 4 * rollout.observation_size + (rollout.action_size or 0) + 2
    check_memory(rollout.trajectories * rollout.steps * per_step, "the numbers of the rollout")
    return list(episodes(rollout))


_WRITERS: dict[str, Callable[[Rollout, BinaryIO], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}
