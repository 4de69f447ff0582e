from __future__ import annotations

import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.recording import RolloutWriter
from tests.helpers.rollout_files import header, numbers, write


@settings(max_examples=25, deadline=None)
@given(
    b=st.integers(1, 5),
    t=st.integers(1, 70),
    d=st.integers(1, 4),
    f=st.integers(1, 3),
    p=st.none() | st.integers(1, 4),
    rows=st.integers(1, 5),
    block=st.integers(1, 70),
    dtype=st.sampled_from(["float64", "float32"]),
    without=st.sets(st.sampled_from(["action/var", "reward/var"])),
)
def test_what_goes_in_comes_out(
    b: int,
    t: int,
    d: int,
    f: int,
    p: int | None,
    rows: int,
    block: int,
    dtype: str,
    without: set[str],
) -> None:
    arrays = {k: v for k, v in numbers(b, t, d, f, p).items() if k not in without}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.h5"
        write(path, arrays, rows=rows, block=block, dtype=dtype)
        assert os.listdir(folder) == ["r.h5"]
        with h5py.File(path) as file:
            found: list[str] = []
            file.visititems(
                lambda name, node: (
                    found.append(name)
                    if isinstance(node, h5py.Dataset) and not node.is_scale
                    else None
                )
            )
            assert set(found) == set(arrays)
            for name, values in arrays.items():
                assert file[name].dtype == dtype
                np.testing.assert_array_equal(file[name][:], values.astype(dtype))


def test_the_layout_is_the_contracts(tmp_path: Path) -> None:
    arrays = numbers(3, 200, 17, 2, p=4)
    write(
        tmp_path / "r.h5",
        arrays,
        header={"seed": 2**80, "extra": {"start": "reset", "device": "cpu"}},
    )
    axes = {
        "observation/mean": ["trajectory", "step", "observation"],
        "observation/var": ["trajectory", "step", "observation", "observation"],
        "action/mean": ["trajectory", "step", "action"],
        "action/var": ["trajectory", "step", "action", "action"],
        "reward/mean": ["trajectory", "step"],
        "reward/var": ["trajectory", "step"],
        "particles/observation": ["trajectory", "particle", "step", "observation"],
    }
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.attrs["complete"].dtype == bool
        assert file.attrs["complete"]
        assert file.attrs["seed"] == str(2**80)
        assert file.attrs["env_kwargs"] == '{"g": 9.81}'
        assert file.attrs["start"] == "reset"
        assert list(file["observation"].attrs["low"]) == [-np.inf] * 17
        for name, labels in axes.items():
            dataset = file[name]
            assert [dimension.label for dimension in dataset.dims] == labels
            assert (dataset.compression, dataset.compression_opts) == ("gzip", 1)
            assert dataset.shuffle
            assert dataset.fletcher32
            chunk = np.prod(dataset.chunks) * 8
            assert chunk <= 1024 * 1024
            for dimension, label, length in zip(dataset.dims, labels, dataset.shape, strict=True):
                (scale,) = dimension.values()
                assert scale.parent == dataset.parent
                if label in ("observation", "action"):
                    expected = [f"{label[0]}{i}" for i in range(length)]
                    assert list(scale.asstr()[:]) == expected
                else:
                    np.testing.assert_array_equal(scale[:], np.arange(length))


def test_long_scales_are_whole(tmp_path: Path) -> None:
    steps = 150_000
    arrays = numbers(1, steps, 1, 1)
    write(tmp_path / "r.h5", {k: arrays[k] for k in list(arrays)[:3]})
    with h5py.File(tmp_path / "r.h5") as file:
        np.testing.assert_array_equal(file["observation/step"][:], np.arange(steps + 1))
        np.testing.assert_array_equal(file["action/step"][:], np.arange(steps))
        assert file["observation/var"].chunks[:2] == (1, 65536)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("target", [None, b"what was there before"])
def test_an_exception_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], target: bytes | None
) -> None:
    path = tmp_path / "r.h5"
    if target is not None:
        path.write_bytes(target)
    with pytest.raises(error):
        interrupted(path, error)
    assert sorted(os.listdir(tmp_path)) == ([] if target is None else ["r.h5"])
    if target is not None:
        assert path.read_bytes() == target


def test_numbers_that_were_never_written_are_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ImagineError, match="2 of 12 beliefs written") as caught,
        RolloutWriter(tmp_path / "r.h5", header(2, 5)) as writer,
    ):
        writer.write_start(0, np.zeros((2, 3)), np.zeros((2, 3, 3)))
    assert caught.value.exit_status == 1
    assert os.listdir(tmp_path) == []


BLOCK = {
    "observation_mean": np.zeros((2, 4, 3)),
    "observation_var": np.zeros((2, 4, 3, 3)),
    "action_mean": np.zeros((2, 4, 1)),
}


@pytest.mark.parametrize(
    ("place", "changes", "sentence"),
    [
        (
            (0, 0),
            {"observation_var": np.ones((2, 4, 3))},
            r"observation/var has shape \(2, 4, 3\),",
        ),
        ((0, 0), {"action_mean": np.zeros((2, 4, 2))}, r"action/mean .* not \(2, 4, 1\)"),
        ((0, 0), {"reward_mean": np.zeros((2, 4))}, "reward/mean was not announced"),
        ((0, 2), {}, "steps 2 to 5 are not among the rollout's 5"),
        ((0, -1), {}, "steps -1 to 2"),
        ((1, 0), {}, "trajectories 1 to 2 are not among the rollout's 2"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(
    tmp_path: Path, place: tuple[int, int], changes: dict[str, np.ndarray], sentence: str
) -> None:
    with (
        pytest.raises(ValueError, match=sentence),
        RolloutWriter(tmp_path / "r.h5", header(2, 5)) as writer,
    ):
        writer.write(*place, **{**BLOCK, **changes})


def test_what_was_announced_must_come(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="action/var is missing"),
        RolloutWriter(tmp_path / "r.h5", header(2, 5), action_var=True) as writer,
    ):
        writer.write(0, 0, **BLOCK)


def test_it_is_used_in_a_with_statement(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="with statement"):
        RolloutWriter(tmp_path / "r.h5", header(2, 5)).write(0, 0, **BLOCK)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "at least one step, not 0"),
        ({"trajectories": -1}, "at least one trajectory, not -1"),
        ({"observation_names": []}, "at least one observation"),
        ({"observation_names": ["x"] * 5000}, "at most 4096 dimensions, not 5000"),
    ],
)
def test_sizes_that_make_no_rollout_are_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        RolloutWriter(tmp_path / "r.h5", header(2, 5, **changes))


def test_blocks_of_whole_chunks_are_what_it_asks_for(tmp_path: Path) -> None:
    writer = RolloutWriter(tmp_path / "r.h5", header(10, 200, 17, 1))
    write(tmp_path / "r.h5", numbers(10, 200, 17, 1))
    with h5py.File(tmp_path / "r.h5") as file:
        chunk = file["observation/var"].chunks
        assert chunk == (writer.trajectory_chunk, writer.time_chunk, 17, 17)
        for name in ("observation/mean", "action/mean", "reward/mean"):
            b, t = file[name].chunks[:2]
            assert b == writer.trajectory_chunk
            assert t % writer.time_chunk == 0 or t == file[name].shape[1]


def interrupted(path: Path, error: type[BaseException]) -> None:
    with RolloutWriter(path, header(2, 5), overwrite=True) as writer:
        writer.write_start(0, np.zeros((2, 3)), np.zeros((2, 3, 3)))
        assert path.with_name("r.h5.partial").exists()
        raise error
