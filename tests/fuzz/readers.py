"""All that imagine reads of a file by a stranger, by what its name ends with."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np

from imagine_cli import load_world_model
from imagine_cli.cli.inspect import inspect
from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.plots import plot
from imagine_cli.policies import load_policy
from imagine_cli.policies.action_files import open_actions
from imagine_cli.recording import open_rollout
from imagine_cli.recording.manifest import MANIFEST, Manifest
from imagine_cli.recording.shard import DIGEST_SIZE, Shard
from imagine_cli.recording.shard_store import ShardStore
from imagine_cli.rollout.initial import make_initial
from imagine_cli.transitions.reader import read_recordings
from tests.fuzz.harness import CORPUS

__all__ = ["READERS"]


@cache
def _env() -> EnvDescription:
    return describe(make_env("Pendulum-v1"))


def read_checkpoint_file(path: Path) -> None:
    """``imagine inspect``, both ways, and as a policy. Raises what it raises."""
    _all(
        lambda: inspect(path),
        lambda: inspect(path, json=True),
        lambda: load_policy(path, _env()),
    )


def read_rollout_file(path: Path) -> None:
    """``imagine inspect``, every number, and as the actions and the starts of a rollout."""
    _all(
        lambda: inspect(path),
        lambda: inspect(path, json=True, step=1),
        lambda: _numbers(path),
        lambda: _actions(path),
        lambda: make_initial(str(path), None, _env(), seed=0, count=1)(0, 1),
    )


def read_minari_file(path: Path) -> None:
    """``imagine fit --data``: the numbers of a dataset, or what describes it, are damaged."""
    read_recordings([_among(path, {".hdf5": "main_data.hdf5", ".metadata": "metadata.json"})])


def read_mbrl_lib_file(path: Path) -> None:
    """``imagine inspect`` of a run's folder, of which one file is damaged."""
    names = {".pth": "model.pth", ".pickle": "env_stats.pickle", ".yaml": ".hydra/config.yaml"}
    load_world_model(_among(path, names))


def read_partial_file(path: Path) -> None:
    """``imagine inspect`` of an unfinished rollout, and what ``--resume`` reads of it."""
    if path.suffix == ".shard":  # its digest is right, as an attacker's would be
        image = path.read_bytes()[:-DIGEST_SIZE]
        path.write_bytes(image + hashlib.sha256(image).digest())
    folder = _among(path, {".shard": Shard(0, 2, 0, 3).filename, ".manifest": MANIFEST})
    _all(lambda: inspect(folder), lambda: inspect(folder, json=True), lambda: _numbers(folder),
         lambda: _states(folder))  # fmt: skip


def read_evaluation_file(path: Path) -> None:
    """``imagine inspect`` and ``imagine plot`` of an evaluation's JSON."""
    with mock.patch.multiple(
        plot, calibration_chart=lambda *_: None, save_picture=lambda *_, **k: None
    ):
        plot.plot_evaluation(path, "no.png")


def read_data_file(path: Path) -> None:
    """``imagine fit --data``, and as the starts of a rollout."""
    _all(lambda: read_recordings([path]), lambda: _initial(path))


def read_table(path: Path) -> None:
    """``--policy``, ``--start`` and ``--data`` with a table."""
    columns = "observation=x,y,z;action=u"
    _all(
        lambda: _actions(path), lambda: _initial(path), lambda: read_recordings([path], columns)
    )  # fmt: skip


def read_parquet_file(path: Path) -> None:
    """``imagine fit --data``."""
    read_recordings([path])


def read_arrow_file(path: Path) -> None:
    """``imagine fit --data`` with a dataset of Minari's."""
    read_recordings([_among(path, {".arrow": "data/0/s.arrow", ".stored": "data/metadata.json"})])


def read_tensors(path: Path) -> None:
    """``imagine fit --data`` with a TensorDict's folder; all its tensors are of the same bytes."""
    folder = _among(path, {".tensors": "meta.json", ".memmap": "observation.memmap"})
    for name in ("action", "next_obs"):
        (folder / f"{name}.memmap").write_bytes((folder / "observation.memmap").read_bytes())
    read_recordings([folder])


def _initial(path: Path) -> None:
    make_initial(str(path), None, _env(), seed=0, count=1)(0, 1)


def _among(path: Path, names: dict[str, str]) -> Path:
    """A folder of the corpus's files with these endings under these names, ``path``'s damaged."""
    folder = path.with_name(f"mutant-{'-'.join(sorted(names))}.h5.partial")
    for ending, name in names.items():
        source = path if ending == path.suffix else next(CORPUS.glob(f"*{ending}"))
        target = folder / name
        if not target.parent.exists():  # it is made before anything is watched
            target.parent.mkdir(parents=True)
        target.write_bytes(source.read_bytes())
    return folder


def _all(*reads: Callable[[], object]) -> None:
    """Each of them, whatever comes of the others; InputError where all of them raise it."""
    refused: list[InputError] = []
    for read in reads:
        try:
            read()
        except InputError as error:
            refused.append(error)
    if len(refused) == len(reads):
        raise refused[0]


def _numbers(path: Path) -> None:
    with open_rollout(path) as rollout:
        for name in rollout.datasets:
            np.isfinite(rollout.numbers(name, slice(0, 4), slice(0, 8)))


def _actions(path: Path) -> None:
    actions = open_actions(path)
    actions.read(*(slice(0, 4) for _ in actions.shape))


def _states(folder: Path) -> None:
    store = ShardStore(folder, Manifest.read(folder))
    for shard in store.manifest.grid:
        with contextlib.suppress(FileNotFoundError):
            store.state(shard)


READERS: dict[str, Callable[[Path], None]] = {
    ".h5": read_rollout_file,
    ".pt": read_checkpoint_file,
    "exported.pt": read_checkpoint_file,
    "latent.pt": read_checkpoint_file,
    ".hdf5": read_minari_file,
    ".metadata": read_minari_file,
    ".pth": read_mbrl_lib_file,
    ".pickle": read_mbrl_lib_file,
    ".yaml": read_mbrl_lib_file,
    ".shard": read_partial_file,
    ".manifest": read_partial_file,
    ".json": read_evaluation_file,
    ".npz": read_data_file,
    ".csv": read_table,
    ".parquet": read_parquet_file,
    ".arrow": read_arrow_file,
    ".tensors": read_tensors,
}
