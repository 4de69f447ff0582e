"""What xarray makes of a rollout file, without a warning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_cli.cli import main
from imagine_cli.recording import PartWriter
from tests.helpers.rollout_files import header, numbers, part, write

xarray = pytest.importorskip("xarray")

NAMES = ["cos(theta)", "sin(theta)", "theta_dot"]


@pytest.mark.parametrize(("engine", "module"), [("h5netcdf", "h5netcdf"), ("netcdf4", "netCDF4")])
def test_axes_and_coordinates_have_their_names(tmp_path: Path, engine: str, module: str) -> None:
    pytest.importorskip(module)
    arrays = numbers(4, 90, p=5)
    write(tmp_path / "r.h5", arrays, header={"observation_names": NAMES}, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(
            tmp_path / "r.h5", group="observation", engine=engine
        ) as observation:
            assert observation["mean"].dims == ("trajectory", "step", "observation")
            assert observation["var"].dims == (
                *observation["mean"].dims,
                "observation_other",
            )
            theta_dot = observation.sel(observation="theta_dot", step=90)
            np.testing.assert_array_equal(
                theta_dot["mean"], arrays["observation/mean"][:, 90, 2].astype(np.float32)
            )
            cross = observation["var"].sel(
                observation="theta_dot", observation_other="cos(theta)", trajectory=3
            )
            np.testing.assert_array_equal(
                cross, arrays["observation/var"][3, :, 2, 0].astype(np.float32)
            )
            assert list(observation["observation"].values) == NAMES
        with xarray.open_dataset(tmp_path / "r.h5", group="action", engine=engine) as action:
            assert action["var"].dims == ("trajectory", "step", "action", "action_other")
            assert list(action["action"].values) == ["a0"]
        with xarray.open_dataset(tmp_path / "r.h5", group="reward", engine=engine) as reward:
            assert reward["mean"].dims == ("trajectory", "step")
            np.testing.assert_array_equal(reward["step"], np.arange(90))
        with xarray.open_dataset(tmp_path / "r.h5", group="particles", engine=engine) as particles:
            assert particles["observation"].dims == (
                "trajectory",
                "particle",
                "step",
                "observation_name",
            )
            assert particles.sel(observation_name="theta_dot", particle=4).sizes == {
                "trajectory": 4,
                "step": 91,
            }
        with xarray.open_dataset(tmp_path / "r.h5", engine=engine) as root:
            assert root.attrs["env_id"] == "Pendulum-v1"


def test_shards_as_one_data_set(tmp_path: Path) -> None:
    """While they are written, too: NaN where there is none."""
    path, arrays = tmp_path / "r.h5", numbers(150, 600, p=2)
    with PartWriter(path, header(150, 600, 3), (1, 1), fields=arrays, particles=2) as writer:
        shards = [*writer.shards]
        assert len({s.first_trajectory for s in shards}) * 2 < len(shards) - 1
        for shard in shards[1:]:
            writer.write(shard, part(arrays, writer, shard))
        assert main(["merge", f"{writer.folder}", "--virtual"]) == 0
    for late in (True, False):
        engine: dict[str, Any] = {"engine": "h5netcdf"}
        with xarray.open_dataset(writer.folder / "virtual.h5", group="observation", **engine) as r:
            mean = r["mean"].isel(observation=2)
            there = arrays["observation/mean"][..., 2].copy()
            there[shards[0].trajectories, : shards[0].last_step] *= np.nan if late else 1
            np.testing.assert_array_equal(mean, there)
            assert r["var"].dims[:2] == ("trajectory", "step")
        if late:
            with PartWriter(path, header(150, 600, 3), (1, 1), fields=arrays, particles=2) as again:
                again.write(shards[0], part(arrays, again, shards[0]))
    assert main(["merge", f"{writer.folder}"]) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["r.h5"]
