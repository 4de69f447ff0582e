"""A rollout file; that of a real run, of ``imagine evaluate --record``, has zero variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.recording import open_rollout, safe_hdf5
from imagine_cli.recording.probe import check_survives
from imagine_cli.recording.provenance import Provenance
from imagine_cli.recording.real_lengths import real_lengths
from imagine_cli.recording.schema import FORMAT
from imagine_cli.transitions.recording import Recording


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file that calls itself a rollout."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    check_survives(lambda: _format(path), path)
    return bool(_format(path) == FORMAT)


def _format(path: Path) -> Any:
    with safe_hdf5.open_file(path) as file:
        return safe_hdf5.attributes(file, path).get("format")


def read(path: Path) -> Recording:
    """Its transitions, each trajectory's up to where it ends; of an imagined one by its means."""
    with open_rollout(path) as rollout:
        if "action/mean" not in rollout:
            raise InputError(f"{path} has no dataset action/mean: nothing to fit to")
        imagined = bool(rollout.attributes.get("model_sha256")) or any(
            (np.nan_to_num(rollout.var(*slab)) != 0.0).any() for slab in rollout.slabs()
        )
        observations = rollout.mean().astype(np.float64)
        actions = rollout.action_mean().astype(np.float64)
        rewards = rollout.reward_mean() if "reward/mean" in rollout else None
        known = Provenance(dict(rollout.attributes))
    lengths = real_lengths(observations, path)
    there = np.arange(actions.shape[1]) < lengths[:, None]
    return Recording(
        path=path,
        format="rollout",
        sha256=sha256_of(path),
        observations=observations[:, :-1][there],
        actions=actions[there],
        next_observations=observations[:, 1:][there],
        rewards=None if rewards is None else rewards.astype(np.float64)[there],
        episode=np.repeat(np.arange(len(lengths)), lengths),
        env_id=known.env_id or None,
        env_kwargs=known.env_kwargs,
        part="trajectory",
        imagined=imagined,
        steps=actions.shape[1],
        policy=known.policy,
        seed=known.seed,
    )
