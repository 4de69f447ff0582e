"""A rollout that is not finished is read, over and over, while another process writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli import InputError, open_rollout
from imagine_cli.errors import Interrupted
from imagine_cli.inspection.statistics import compute
from imagine_cli.recording import FIELDS
from tests.helpers.rollout_files import header, numbers, part, write, writer_of

WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.helpers.rollout_files import numbers, write
write(Path("r.h5"), numbers(6, 20000, 5))
"""


def test_each_time_it_is_sound(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(root=str(Path(__file__).parents[2]))], cwd=tmp_path
    )
    partial, counts = tmp_path / "r.h5.partial", []
    while process.poll() is None:
        if not (partial / "manifest.json").exists():
            continue
        try:
            rollout = open_rollout(partial)
        except InputError:  # gone in between, to what it is to be
            assert not (partial / "manifest.json").exists()
            break
        with rollout:
            assert rollout.complete is False
            there = np.isfinite(rollout.mean()).all(-1)
            assert (np.diff(there.astype(int), axis=1) <= 0).all()  # no step before others
            counts.append(int(there.sum()))
    assert process.wait(60) == 0
    assert len(counts) >= 3
    assert counts == sorted(counts)
    with open_rollout(tmp_path / "r.h5") as whole:
        assert np.isfinite(whole.mean()).all()


def test_a_partial_rollout_shows_what_is_there(tmp_path: Path) -> None:
    arrays = numbers(5, 300, 17, 2, p=4)
    about = header(5, 300, 17, 2, observation_low=np.zeros(17), extra={"start": "reset"})
    chosen = [0, 2]
    expected = {name: np.full_like(values, np.nan) for name, values in arrays.items()}
    with (
        pytest.raises(Interrupted),
        writer_of(tmp_path / "r.h5", arrays, about, together=2) as writer,
    ):
        for k in chosen:
            shard = writer.shards[k]
            writer.write(shard, part(arrays, writer, shard))
            for name, values in part(arrays, writer, shard).items():
                expected[name][writer.shards.place(FIELDS[name], shard)] = values
        raise Interrupted("stop")
    write(tmp_path / "whole.h5", arrays, header={"observation_low": np.zeros(17)})
    with (
        open_rollout(tmp_path / "r.h5.partial") as rollout,
        open_rollout(tmp_path / "whole.h5") as whole,
    ):
        assert rollout.complete is False
        assert [finding.kind for finding in rollout.warnings] == ["incomplete"]
        assert rollout.extra == {"start": "reset"}
        assert rollout.datasets == whole.datasets
        for name in ("trajectories", "steps", "observation_size", "action_size", "particle_count"):
            assert getattr(rollout, name) == getattr(whole, name)
        assert rollout.observation_names == whole.observation_names
        assert rollout.action_names == whole.action_names
        np.testing.assert_array_equal(rollout.observation_low, np.zeros(17))
        np.testing.assert_array_equal(rollout.observation_high, np.full(17, np.inf))
        assert rollout.stored_bytes > 0
        for name, values in expected.items():
            np.testing.assert_array_equal(rollout.numbers(name), values)
        there = np.isfinite(expected["observation/mean"]).all(-1)
        statistics = compute(rollout)
        assert f"{there.sum()} of {there.size} beliefs are there" in str(statistics.warnings)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_part_of_it_is_read_as_of_a_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-part"
    arrays = numbers(5, 200, 9, p=3)
    if not folder.exists():
        folder.mkdir()
        with (
            pytest.raises(Interrupted),
            writer_of(folder / "r.h5", arrays, header(5, 200, 9), together=2) as writer,
        ):
            for shard in writer.shards:
                writer.write(shard, part(arrays, writer, shard))
            raise Interrupted("stop")
    name = data.draw(st.sampled_from(sorted(arrays)))
    values, axis = arrays[name], FIELDS[name].step_axis

    def index(size: int) -> st.SearchStrategy[int | slice]:
        return st.integers(-size, size - 1) | st.slices(size).filter(lambda s: (s.step or 1) > 0)

    trajectory, step = data.draw(index(5)), data.draw(index(values.shape[axis]))
    with open_rollout(folder / "r.h5.partial") as rollout:
        found = rollout.numbers(name, trajectory, step)
    place = (trajectory, step) if axis == 1 else (trajectory, slice(None), step)
    np.testing.assert_array_equal(found, values[place])


@pytest.mark.parametrize("finished", [True, False])
def test_one_that_ends_while_it_is_open(tmp_path: Path, finished: bool) -> None:
    arrays, path = numbers(5, 300, 17), tmp_path / "r.h5"
    write(path, numbers(5, 300, 17, seed=1), header={"seed": 8})  # another's, to be replaced
    with (
        pytest.raises(ZeroDivisionError) as caught,
        writer_of(path, arrays, header(5, 300, 17), overwrite=True, together=1) as writer,
    ):
        shards = list(writer.shards)
        writer.write(shards[0], part(arrays, writer, shards[0]))
        rollout = open_rollout(tmp_path / "r.h5.partial")
        if finished:
            for shard in shards[1:]:
                writer.write(shard, part(arrays, writer, shard))
            writer.__exit__(None, None, None)
        raise ZeroDivisionError
    assert caught.value.__context__ is None
    with rollout:
        if finished:
            np.testing.assert_array_equal(rollout.mean(), arrays["observation/mean"])
            assert rollout.path == path
        else:
            with pytest.raises(InputError, match="is gone: its rollout was given up"):
                rollout.mean()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, not a rollout file"):
        open_rollout(tmp_path)
