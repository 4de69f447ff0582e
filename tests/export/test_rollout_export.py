"""Rollouts as tables and data sets, each read back by the library whose format it is."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray
from tensordict import TensorDict
from torchrl.data import LazyMemmapStorage, TensorDictReplayBuffer
from torchrl.envs import GymEnv

from imagine_cli import open_rollout, run_rollout
from imagine_cli.cli import main
from imagine_cli.transitions.reader import read_recordings
from imagine_cli.transitions.recording import Recording

MODELS = Path(__file__).parents[2] / "sample_models"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def imagine(**options: object) -> None:
    given = {"steps": 6, "trajectories": 3, "reward": "env", **options}
    run_rollout("Pendulum-v1", MODELS / "pendulum-linear.pt", output="r.h5", **given)  # type: ignore[arg-type]


def recording(path: Path) -> Recording:
    return read_recordings([path])[0]


def record(env: str = "CartPole-v1", model: str = "cartpole-gp.pt") -> None:
    """A real run, whose episodes end at different steps."""
    command = f"evaluate --env {env} --model {MODELS / model} --steps 30 -n 4 --record real.h5 -q"
    assert main([*command.split(), "--json"]) == 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table(ending: str) -> None:
    imagine()
    assert main(["export", "r.h5", "-o", f"r.{ending}"]) == 0
    with open_rollout("r.h5") as rollout:
        names = rollout.observation_names
        mean, action, reward = rollout.mean(1), rollout.action_mean(1), rollout.reward_mean(1)
        sd = np.sqrt(np.diagonal(rollout.var(1), axis1=-2, axis2=-1))
    if ending == "csv":
        with open("r.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        found = {n: c.to_numpy() for n, c in zip(*_columns(parquet.read_table("r.parquet")))}  # noqa: B905
    second = found["trajectory"] == 1
    assert found["step"][second].tolist() == list(range(7))
    for k, name in enumerate(names):
        assert (found[name][second] == mean[:, k]).all()
        assert (found[f"sd {name}"][second] == sd[:, k]).all()
    assert np.array_equal(found["action u0"][second], [*action[:, 0], np.nan], equal_nan=True)
    assert np.array_equal(found["reward"][second], [*reward, np.nan], equal_nan=True)


def _columns(table: object) -> tuple[list[str], list[object]]:
    return table.column_names, table.columns  # type: ignore[attr-defined]


def test_an_npz_of_a_real_run_is_the_same_data_to_fit_to() -> None:
    record()
    assert main(["export", "real.h5", "-o", "real.npz"]) == 0
    ours, exported = recording(Path("real.h5")), recording(Path("real.npz"))
    assert len(set(np.bincount(ours.episode).tolist())) > 1  # type: ignore[arg-type]
    for name in ("observations", "actions", "next_observations", "rewards", "episode"):
        assert np.array_equal(getattr(ours, name), getattr(exported, name)), name


def test_minari_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    imagine()
    record()
    assert main(["export", "r.h5", "-o", "imagined-v0"]) == 0
    assert main(["export", "real.h5", "-o", "cartpole-v0"]) == 0
    assert "MINARI_DATASETS_PATH" not in os.environ
    monkeypatch.setenv("MINARI_DATASETS_PATH", os.getcwd())
    assert {"imagined-v0", "cartpole-v0"} <= {*minari.list_local_datasets()}
    imagined, real = minari.load_dataset("imagined-v0"), minari.load_dataset("cartpole-v0")
    with open_rollout("r.h5") as rollout:
        for k, episode in enumerate(imagined.iterate_episodes()):
            assert (episode.observations == rollout.mean(k).astype(np.float32)).all()
            assert np.allclose(episode.rewards, rollout.reward_mean(k), rtol=1e-6)
            assert episode.infos["observation_sd"].shape == (7, 3)
            assert episode.truncations[-1]
            assert not episode.terminations.any()
    assert "not real" in imagined.storage.metadata["description"]
    assert imagined.env_spec.id == "Pendulum-v1"
    recorded = recording(Path("real.h5"))
    assert real.total_steps == len(recorded.actions)
    assert real[0].actions.dtype == np.int64
    ended = [episode.terminations[-1] for episode in real.iterate_episodes()]
    shorter = [len(episode.actions) < 30 for episode in real.iterate_episodes()]
    assert ended == shorter
    assert any(ended)
    fitted = recording(Path("cartpole-v0"))
    assert np.allclose(fitted.observations, recorded.observations, rtol=1e-6)


def test_torchrl_loads_it_and_keeps_it_in_a_replay_buffer() -> None:
    imagine()
    assert main(["export", "r.h5", "--to", "torchrl"]) == 0
    found = TensorDict.load_memmap("rollout-torchrl")
    assert found.batch_size == (18,)
    with open_rollout("r.h5") as rollout:
        mean, action, reward = rollout.mean(), rollout.action_mean(), rollout.reward_mean()
    for key, expected in (
        ("observation", mean[:, :-1]), (("next", "observation"), mean[:, 1:]), ("action", action),
        (("next", "reward"), reward[..., None]),
    ):  # fmt: skip
        np.testing.assert_array_equal(found[key], expected.reshape(18, -1).astype(np.float32))
    assert found["collector", "traj_ids"].tolist() == np.repeat(range(3), 6).tolist()
    assert found["imagined"].all()
    last = torch.arange(18) % 6 == 5
    assert torch.equal(found["next", "done"][:, 0], last)
    assert torch.equal(found["next", "truncated"][:, 0], last)
    assert not found["next", "terminated"].any()
    real = GymEnv("Pendulum-v1").rollout(2)
    for key in ("observation", "action", ("next", "observation"), ("next", "reward"), "done"):
        assert (found[key].dtype, found[key].shape[1:]) == (real[key].dtype, real[key].shape[1:])
    buffer = TensorDictReplayBuffer(storage=LazyMemmapStorage(18), batch_size=18)
    buffer.extend(found)
    sample = buffer.sample()
    np.testing.assert_array_equal(sample["observation"], found["observation"][sample["index"]])


def test_torchrl_knows_how_a_real_run_ended() -> None:
    record()
    assert main(["export", "real.h5", "--to", "torchrl", "-o", "real"]) == 0
    found, ours = TensorDict.load_memmap("real"), recording(Path("real.h5"))
    assert "imagined" not in found
    assert found["action"].dtype == torch.int64
    np.testing.assert_array_equal(found["action"], ours.actions)
    lengths = torch.bincount(found["collector", "traj_ids"])
    ended = found["next", "terminated"][found["next", "done"]]
    assert torch.equal(ended, lengths < 30)
    back = recording(Path("real"))
    assert np.array_equal(back.observations, ours.observations.astype(np.float32))
    assert np.array_equal(back.episode, ours.episode)  # type: ignore[arg-type]


def test_a_full_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imagine()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    assert main(["export", "r.h5", "--to", "torchrl"]) == 1
    assert "there is no room for the" in capsys.readouterr().err
    assert os.listdir() == ["r.h5"]


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_it(engine: str) -> None:
    record()
    imagine()
    for source, target, imagined in (
        ("r.h5", "rollout.nc", "true"),
        ("real.h5", "real.nc", "false"),
    ):
        assert main(["export", source, "-o", target]) == 0
        with xarray.open_dataset(target, engine=engine) as found, open_rollout(source) as rollout:
            assert found.attrs["imagined"] == imagined
            assert found["observation_name"].values.tolist() == rollout.observation_names
            np.testing.assert_array_equal(found["observation"], rollout.mean())
            sd = np.sqrt(np.diagonal(rollout.var(), axis1=-2, axis2=-1))
            np.testing.assert_allclose(
                found["observation_sd"], np.where(found["observation"].isnull(), np.nan, sd)
            )
            assert found["action"].isnull()[:, -1].all()
            there = found["action"][:, :-1].values
            np.testing.assert_array_equal(
                there[~np.isnan(there)], rollout.action_mean()[~np.isnan(there)]
            )


def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imagine()
    for module, to, extra in (
        ("h5netcdf", "netcdf", "xarray"), ("pyarrow", "parquet", "parquet"), ("minari",) * 3,
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, module, None)
        assert main(["export", "r.h5", "--to", to]) == 2
        assert f"run: pip install 'imagine-cli[{extra}]'" in capsys.readouterr().err
    assert os.listdir() == ["r.h5"]


@pytest.mark.parametrize(
    "target",
    [
        "r.xyz", "imagined", "r.csv", "there-v0", "no/imagined-v0", "there-v0 --to torchrl",
        "imagined --to minari", "r.h6 --to lerobot",
    ],
)  # fmt: skip
def test_what_can_not_be_written(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    imagine()
    Path("r.csv").write_text("mine")
    Path("there-v0").mkdir()
    before = sorted(os.listdir())
    assert main(["export", "r.h5", "-o", *target.split()]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(os.listdir()) == before
    assert Path("r.csv").read_text() == "mine"
