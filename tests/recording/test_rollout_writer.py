from __future__ import annotations

import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.errors import DiskError, ImagineError, InputError, Interrupted
from imagine_cli.recording import FIELDS, RolloutWriter, open_rollout, write_rollout, writer
from tests.helpers.rollout_files import Arrays, header, numbers, part, write, writer_of


def whole(path: Path) -> Arrays:
    """Every dataset but the scales, by plain h5py."""
    found: Arrays = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and not node.is_scale:
            found[name] = node[:]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@settings(max_examples=40, deadline=None)
@given(
    b=st.integers(1, 200),
    t=st.sampled_from([1, 2, 63, 64, 65, 127, 128, 129, 300]),
    d=st.sampled_from([1, 2, 5, 17]),
    f=st.integers(1, 3),
    p=st.none() | st.sampled_from([1, 3, 50]),
    together=st.none() | st.integers(1, 100),
    dtype=st.sampled_from(["float64", "float32"]),
    without=st.sets(st.sampled_from(["action/mean", "action/var", "reward/mean", "reward/var"])),
)
def test_what_goes_in_comes_out_whatever_the_order(
    b: int,
    t: int,
    d: int,
    f: int,
    p: int | None,
    together: int | None,
    dtype: str,
    without: set[str],
) -> None:
    b = max(1, min(b, 200_000 // (t * d * (d + (p or 1)))))
    arrays = {k: v for k, v in numbers(b, t, d, f, p).items() if k not in without}
    names = {"action_names": [f"a{i}" for i in range(f)], "created": "now"}
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.h5", Path(folder) / "other.h5"
        for order, path in enumerate((one, other)):
            write(path, arrays, order=order, dtype=dtype, together=together, header=names)
        assert sorted(os.listdir(folder)) == ["one.h5", "other.h5"]
        assert one.read_bytes() == other.read_bytes()
        found = whole(one)
        assert set(found) == set(arrays)
        for name, values in arrays.items():
            assert found[name].dtype == dtype
            np.testing.assert_array_equal(found[name], values.astype(dtype))


@pytest.mark.parametrize("together", [None, 1, 7, 64])
@pytest.mark.parametrize("p", [None, 1, 40, 3000])
@pytest.mark.parametrize(
    ("b", "t", "d"), [(1000, 1000, 17), (64, 2000, 3), (1, 10**6, 3), (9, 300, 376)]
)
def test_shards_are_whole_chunks_of_bounded_size(
    tmp_path: Path, b: int, t: int, d: int, p: int | None, together: int | None
) -> None:
    fields = {name for name in FIELDS if p is not None or not name.startswith("particles")}
    about = header(b, t, d, 2)
    grid = RolloutWriter(
        tmp_path / "r.h5", about, fields=fields, particles=p, together=together
    ).shards
    seen = np.zeros((-(-b // grid.trajectories), -(-t // grid.steps)), dtype=int)
    for shard in grid:
        seen[shard.first_trajectory // grid.trajectories, shard.first_step // grid.steps] += 1
    assert (seen == 1).all()
    assert grid[-1][1::2] == (b, t)
    assert grid.trajectories <= (together or b)
    for name in fields:
        chunk, axis = grid.chunks[name], FIELDS[name].step_axis
        assert grid.steps % chunk[axis] == 0 or grid.steps == t
        assert grid.trajectories % chunk[0] == 0 or grid.trajectories == b
        assert np.prod(chunk) * 8 <= max(2**20, d * d * 8)
    size = sum(np.prod(grid.shape(FIELDS[name], grid[0])) * 8 for name in fields)
    assert size <= 64 * 2**20


def test_the_layout_is_the_contracts(tmp_path: Path) -> None:
    arrays = numbers(3, 200, 17, 2, p=4)
    extra = {"start": "reset", "device": "cpu"}
    write(tmp_path / "r.h5", arrays, header={"seed": 2**80, "extra": extra})
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.attrs["complete"].dtype == bool
        assert file.attrs["complete"]
        assert file.attrs["seed"] == str(2**80)
        assert file.attrs["env_kwargs"] == '{"g": 9.81}'
        assert file.attrs["start"] == "reset"
        assert list(file["observation"].attrs["low"]) == [-np.inf] * 17
        for name, field in FIELDS.items():
            dataset = file[name]
            labels = [axis.split("_")[0] for axis in field.axes]
            assert [dimension.label for dimension in dataset.dims] == labels
            assert (dataset.compression, dataset.compression_opts) == ("gzip", 1)
            assert dataset.shuffle
            assert dataset.fletcher32
            for dimension, label, length in zip(dataset.dims, labels, dataset.shape, strict=True):
                (scale,) = dimension.values()
                assert scale.parent == dataset.parent
                if label in ("observation", "action"):
                    assert list(scale.asstr()[:]) == [f"{label[0]}{i}" for i in range(length)]
                else:
                    np.testing.assert_array_equal(scale[:], np.arange(length))


def test_long_scales_are_whole(tmp_path: Path) -> None:
    steps = 150_000
    arrays = numbers(1, steps, 1, 1)
    write_rollout(tmp_path / "r.h5", header(1, steps, 1), {k: arrays[k] for k in list(arrays)[:3]})
    with h5py.File(tmp_path / "r.h5") as file:
        np.testing.assert_array_equal(file["observation/step"][:], np.arange(steps + 1))
        np.testing.assert_array_equal(file["action/step"][:], np.arange(steps))
        assert file["observation/var"].chunks[:2] == (1, 65536)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    arrays, rng = numbers(2, 5), np.random.default_rng(0)
    state = {
        "belief/mean": rng.normal(size=(2, 3)),
        "large": rng.normal(size=(2, 9000)),
        "failed": np.array([True, False]),
        "counter": np.array(2**64 - 1, dtype=np.uint64),
        "key": np.arange(4, dtype=np.int64),
        "nothing": np.zeros((2, 0)),
    }
    with writer_of(tmp_path / "r.h5", arrays, header(2, 5)) as writer:
        (shard,) = writer.shards
        writer.write(shard, part(arrays, writer, shard), state)
        while not writer.has(shard):
            pass
        found = writer.state(shard)
        assert set(found) == set(state)
        for name, values in state.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)
        for name, values in arrays.items():
            np.testing.assert_array_equal(writer.read(shard, name), values)


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (ZeroDivisionError, False),
        (ImagineError, False),
        (KeyboardInterrupt, True),
        (SystemExit, True),
        (DiskError, True),
        (Interrupted, True),
    ],
)
@pytest.mark.parametrize("shards", [0, 1])
@pytest.mark.parametrize("before", [None, b"what was there before"])
def test_what_an_exception_leaves(
    tmp_path: Path, error: type[BaseException], stays: bool, shards: int, before: bytes | None
) -> None:
    path, arrays = tmp_path / "r.h5", numbers(2, 300, 17)
    if before is not None:
        path.write_bytes(before)
    with (
        pytest.raises(error),
        writer_of(path, arrays, header(2, 300, 17), overwrite=True, together=1) as writer,
    ):
        assert (tmp_path / "r.h5.partial").is_dir()
        for shard in writer.shards[:shards]:
            writer.write(shard, part(arrays, writer, shard))
        raise error("now")
    expected = ([] if before is None else ["r.h5"]) + ["r.h5.partial"] * (stays and shards > 0)
    assert sorted(os.listdir(tmp_path)) == expected
    if before is not None:
        assert path.read_bytes() == before


def test_shards_that_were_never_written_are_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ImagineError, match="0 of 1 shards written") as caught,
        RolloutWriter(tmp_path / "r.h5", header(2, 5)),
    ):
        pass
    assert caught.value.exit_status == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"observation/var": np.ones((2, 6, 3))}, r"observation/var has shape \(2, 6, 3\),"),
        ({"action/mean": np.zeros((2, 5, 2))}, r"action/mean .* not \(2, 5, 1\)"),
        ({"reward/mean": np.zeros((2, 5))}, "reward/mean was not announced"),
        ({"action/mean": None}, "action/mean is missing"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray | None], sentence: str
) -> None:
    arrays = {
        name: numbers(2, 5)[name] for name in ("observation/mean", "observation/var", "action/mean")
    }
    given = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
    with (
        pytest.raises(ValueError, match=sentence),
        RolloutWriter(tmp_path / "r.h5", header(2, 5)) as writer,
    ):
        writer.write(writer.shards[0], given)
    assert os.listdir(tmp_path) == []


def test_it_is_used_in_a_with_statement(tmp_path: Path) -> None:
    writer = RolloutWriter(tmp_path / "r.h5", header(2, 5))
    with pytest.raises(ValueError, match="with statement"):
        writer.write(writer.shards[0], {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "at least one step, not 0"),
        ({"trajectories": -1}, "at least one trajectory, not -1"),
        (
            {"observation_names": [], "observation_low": [], "observation_high": []},
            "one observation",
        ),
        (
            dict.fromkeys(("observation_low", "observation_high"), np.zeros(5000))
            | {"observation_names": ["x"] * 5000},
            "at most 4096 dimensions, not 5000",
        ),
    ],
)
def test_sizes_that_make_no_rollout_are_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        RolloutWriter(tmp_path / "r.h5", header(2, 5, **changes))


def test_more_than_any_disk_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has room for .* take fewer"):
        RolloutWriter(tmp_path / "r.h5", header(10**9, 10**6)).__enter__()
    assert os.listdir(tmp_path) == []


def test_bounds_and_extra_attributes_survive_the_manifest(tmp_path: Path) -> None:
    low, high = np.array([-1.0, -np.inf, 0.1]), np.array([np.inf, 0.0, 1 / 3])
    extra = {"real": True, "count": 3, "share": 0.1, "text": "é"}
    changes = {"observation_low": low, "observation_high": high, "extra": extra}
    write(tmp_path / "r.h5", numbers(1, 3), header=changes)
    with open_rollout(tmp_path / "r.h5") as rollout:
        np.testing.assert_array_equal(rollout.observation_low, low)
        np.testing.assert_array_equal(rollout.observation_high, high)
        assert rollout.extra == extra


def test_an_interrupt_as_it_begins_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any, **named: Any) -> ThreadPoolExecutor:
        signal.raise_signal(signal.SIGINT)
        return ThreadPoolExecutor(*given, **named)

    monkeypatch.setattr(writer, "ThreadPoolExecutor", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "r.h5", numbers(2, 3, 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
