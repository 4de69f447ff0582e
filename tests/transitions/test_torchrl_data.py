"""``--data``, folders that torchrl and tensordict wrote, against what they read of them."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.data import LazyMemmapStorage, TensorDictReplayBuffer
from torchrl.envs import GymEnv, SerialEnv

from imagine_cli import InputError, fit_world_model
from imagine_cli.environments import describe_named
from imagine_cli.transitions.join import join
from imagine_cli.transitions.reader import read_recordings
from tests.helpers.real_transitions import transitions

warnings.filterwarnings("ignore", module="torchrl")


def _check(folder: Path, expected: TensorDict, env_id: str = "Pendulum-v1") -> None:
    """``expected`` has one batch axis, in order of time."""
    (recording,) = read_recordings([folder])
    found = join([recording], describe_named(env_id), reward=True)
    for one, key in (
        (found.observations, "observation"), (found.actions, "action"),
        (found.next_observations, ("next", "observation")),
        (found.rewards[:, None], ("next", "reward")),
    ):  # fmt: skip
        np.testing.assert_array_equal(one, expected[key].double().numpy())


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
@pytest.mark.parametrize("size", [25, 200], ids=["wrapped", "not full"])
def test_a_replay_buffer(size: int, env_id: str, tmp_path: Path) -> None:
    env = GymEnv(env_id)
    env.set_seed(0)
    buffer = TensorDictReplayBuffer(storage=LazyMemmapStorage(size), batch_size=8)
    rollouts = [env.rollout(20) for _ in range(3)]
    for each in rollouts:
        buffer.extend(each)
    buffer.dumps(tmp_path / "dump")
    whole = torch.cat(rollouts)
    _check(tmp_path / "dump", whole[-size:], env_id)
    (recording,) = read_recordings([tmp_path / "dump"])
    kept = torch.cat([torch.full((len(r),), k) for k, r in enumerate(rollouts)])[-size:]
    found = join([recording], describe_named(env_id), reward=True)
    np.testing.assert_array_equal(found.episode, (kept - kept[0]).numpy())


def test_a_buffer_of_several_envs(tmp_path: Path) -> None:
    envs = SerialEnv(2, lambda: GymEnv("Pendulum-v1"))
    envs.set_seed(0)
    buffer = TensorDictReplayBuffer(storage=LazyMemmapStorage(60, ndim=2), batch_size=8)
    rollout = envs.rollout(20)
    buffer.extend(rollout)
    buffer.dumps(tmp_path / "dump")
    _check(tmp_path / "dump", rollout.reshape(-1))
    envs.close()


def test_a_tensordict(tmp_path: Path) -> None:
    envs = SerialEnv(2, lambda: GymEnv("Pendulum-v1"))
    envs.set_seed(0)
    rollout = envs.rollout(60)
    rollout["not read"] = torch.zeros(2, 60, dtype=torch.bfloat16)
    rollout.memmap(tmp_path / "td")
    _check(tmp_path / "td", rollout.reshape(-1))
    fitted = fit_world_model("Pendulum-v1", data=tmp_path / "td", kind="linear")
    assert (fitted.metadata["steps"], fitted.metadata["episodes"]) == (120, 2)
    envs.close()


def _changed(folder: Path, key: str, **changes: Any) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta[key].update(changes)
    (folder / "meta.json").write_text(json.dumps(meta))


def _as_pickle(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["observation"] = {"type": "NonTensorData"}
    (folder / "meta.json").write_text(json.dumps(meta))


def _link(folder: Path) -> None:
    (folder / "observation.memmap").rename(folder.parent / "secret")
    (folder / "observation.memmap").symlink_to(folder.parent / "secret")


def _climb(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["../secret/observation"] = meta.pop("observation")
    (folder / "meta.json").write_text(json.dumps(meta))


def _pipe(folder: Path) -> None:
    (folder / "observation.memmap").unlink()
    os.mkfifo(folder / "observation.memmap")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_as_pickle, "observation is stored as NonTensorData, which may need a pickle"),
        (_link, "observation.memmap is a link to somewhere else, which is not followed"),
        (_climb, "names '../secret/observation', which is no file of its folder"),
        (_pipe, "observation.memmap is missing or has fewer numbers than its shape, (20, 3)"),
        (lambda f: _changed(f, "observation", shape=[20, 3000]), "has fewer numbers than its"),
        (
            lambda f: _changed(f, "observation", shape=[20, -3]),
            "has a shape of no numbers, [20, -3]",
        ),
        (lambda f: _changed(f, "observation", shape=[10, 6]), "which is not of the batch size (20"),
        (lambda f: _changed(f, "observation", dtype="os.system"), "observation is of os.system"),
        (lambda f: _changed(f, "observation", shape=[20, 10**15]), "GB of memory; take fewer"),
        (lambda f: (f / "meta.json").write_text("["), "meta.json can't be read as JSON"),
    ],
)
def test_bad_folders_are_one_sentence(change: Any, said: str, tmp_path: Path) -> None:
    GymEnv("Pendulum-v1").rollout(20).memmap(tmp_path / "td")
    change(tmp_path / "td")
    with pytest.raises(InputError) as raised:
        read_recordings([tmp_path / "td"])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_pickles_beside_it_are_left_alone(tmp_path: Path) -> None:
    buffer = TensorDictReplayBuffer(storage=LazyMemmapStorage(20), batch_size=8)
    buffer.extend(GymEnv("Pendulum-v1").rollout(20))
    buffer.dumps(tmp_path / "dump")
    (tmp_path / "dump" / "prefetch.pkl").write_bytes(b"cos\nabort\n(tR.")
    assert len(transitions(tmp_path / "dump")) == 20


@pytest.mark.parametrize("length", [-3, "20", True])
def test_a_buffer_that_is_filled_to_no_number(length: Any, tmp_path: Path) -> None:
    buffer = TensorDictReplayBuffer(storage=LazyMemmapStorage(20), batch_size=8)
    buffer.extend(GymEnv("Pendulum-v1").rollout(20))
    buffer.dumps(tmp_path / "dump")
    metadata = tmp_path / "dump" / "storage" / "storage_metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"len": length}))
    with pytest.raises(InputError, match="says no numbers where it is filled to"):
        read_recordings([tmp_path / "dump"])
