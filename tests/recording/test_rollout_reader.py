from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagine_cli.errors import InputError
from imagine_cli.inspection.statistics import compute
from imagine_cli.recording import Rollout, open_rollout
from tests.helpers.rollout_files import numbers, write, write_plainly


def test_it_reads_back_what_the_writer_wrote(tmp_path: Path) -> None:
    arrays = numbers(3, 20, 4, 2, p=5)
    low = np.array([-1.0, -np.inf, 0.0, -8.0])
    write(
        tmp_path / "r.h5",
        arrays,
        header={"observation_low": low, "seed": 2**80, "extra": {"start": "reset"}},
    )
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert (rollout.trajectories, rollout.steps) == (3, 20)
        assert (rollout.observation_size, rollout.action_size, rollout.particle_count) == (4, 2, 5)
        assert rollout.observation_names == ["o0", "o1", "o2", "o3"]
        assert rollout.action_names == ["a0", "a1"]
        assert rollout.seed == 2**80
        assert rollout.env_kwargs == {"g": 9.81}
        assert (rollout.env_id, rollout.policy) == ("Pendulum-v1", "random")
        assert rollout.model_sha256 == "0123456789abcdef" * 4
        assert rollout.versions["h5py"] == h5py.__version__
        assert rollout.extra == {"start": "reset"}
        assert rollout.complete is True
        assert rollout.warnings == []
        assert set(rollout.datasets) == set(arrays)
        np.testing.assert_array_equal(rollout.observation_low, low)
        np.testing.assert_array_equal(rollout.observation_high, np.full(4, np.inf))
        np.testing.assert_array_equal(rollout.mean(), arrays["observation/mean"])
        np.testing.assert_array_equal(rollout.var(1, 20), arrays["observation/var"][1, 20])
        np.testing.assert_array_equal(
            rollout.mean(slice(1, 3), slice(5, 9)), arrays["observation/mean"][1:3, 5:9]
        )
        np.testing.assert_array_equal(rollout.action_mean(2), arrays["action/mean"][2])
        np.testing.assert_array_equal(rollout.action_var(step=3), arrays["action/var"][:, 3])
        np.testing.assert_array_equal(rollout.reward_mean(), arrays["reward/mean"])
        np.testing.assert_array_equal(rollout.reward_var(0, 1), arrays["reward/var"][0, 1])
        np.testing.assert_array_equal(
            rollout.particles(2, slice(4, 6)), arrays["particles/observation"][2, :, 4:6]
        )


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8", "float16", "int32"])
def test_files_by_others_need_the_two_datasets_alone(tmp_path: Path, dtype: str) -> None:
    arrays = {
        name: values.astype(dtype)
        for name, values in numbers(2, 6).items()
        if name.startswith("observation")
    }
    write_plainly(tmp_path / "r.h5", arrays)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert (rollout.action_size, rollout.particle_count) == (None, None)
        assert rollout.observation_names == ["x0", "x1", "x2"]
        assert rollout.action_names == []
        assert (rollout.env_id, rollout.seed, rollout.env_kwargs) == (None, None, None)
        assert (rollout.complete, rollout.created, rollout.versions) == (None, None, {})
        assert np.isinf(rollout.observation_low).all()
        np.testing.assert_array_equal(rollout.mean(), arrays["observation/mean"])
        assert [finding.kind for finding in rollout.warnings] == ["missing"]
        with pytest.raises(InputError, match="has no dataset reward/mean"):
            rollout.reward_mean()


def test_names_fall_back_on_the_envs_own(tmp_path: Path) -> None:
    write_plainly(tmp_path / "r.h5", numbers(1, 2), env_id=np.bytes_(b"Pendulum-v1"))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file["observation/observation"] = np.arange(3)  # not names
        file["action/action"] = np.array([b"torque"])
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.observation_names == ["cos(theta)", "sin(theta)", "theta_dot"]
        assert rollout.action_names == ["torque"]


def test_odd_attributes_count_as_missing(tmp_path: Path) -> None:
    write_plainly(
        tmp_path / "r.h5",
        numbers(1, 2),
        env_kwargs="{not json",
        seed="seven",
        policy=h5py.Empty("f8"),
        model_kind=np.arange(5),
        steps=99,
    )
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file["observation"].attrs["low"] = [0.0, 1.0]  # of the wrong length
        file["observation"].attrs["high"] = [1.0, np.nan, 2.0]
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert (rollout.env_kwargs, rollout.seed, rollout.policy) == (None, None, None)
        np.testing.assert_array_equal(rollout.observation_low, [-np.inf] * 3)
        np.testing.assert_array_equal(rollout.observation_high, [1.0, np.inf, 2.0])
        (finding,) = rollout.warnings
        assert finding == ("header", "the file's header says 99 steps, its data 2")


def test_an_incomplete_file_is_read_with_a_warning(tmp_path: Path) -> None:
    write_plainly(tmp_path / "r.h5", numbers(1, 2), complete=False)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert [finding.kind for finding in rollout.warnings] == ["incomplete"]
        assert rollout.mean().shape == (1, 3, 3)


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        open_rollout(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"step,mean\n0,1\n", "is not an HDF5 file"),
        (b"PK\3\4" + bytes(100), "a world-model checkpoint or another zip file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "is damaged and can't be opened"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "r.h5").write_bytes(content)
    refused(tmp_path / "r.h5", sentence)


def test_no_file_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", "there is no file")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({}, "attribute 'format' is missing or can't be read"),
        ({"format": "minari"}, "its attribute 'format' is 'minari'"),
        ({"format": "imagine-rollout", "format_version": 2}, "has version 2 .* update imagine"),
        ({"format": "imagine-rollout", "format_version": "one"}, "format_version is 'one'"),
        ({"format": "imagine-rollout", "format_version": 0}, "format_version is 0"),
    ],
)
def test_formats_that_are_not_ours(
    tmp_path: Path, attributes: dict[str, Any], sentence: str
) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file.attrs.update(attributes)
    refused(tmp_path / "r.h5", sentence)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("observation/mean", None, "has no dataset observation/mean: nothing to show"),
        ("observation/var", None, "has no dataset observation/var"),
        ("observation", None, "no dataset observation/mean and no observation/var"),
        ("observation/mean", np.zeros((2, 7)), r"has the shape \(2, 7\), not \(B, T\+1, D\)"),
        ("observation/var", np.zeros((2, 7, 3)), r"not \(B, T\+1, D, D\)"),
        ("observation/var", np.zeros((2, 7, 3, 4)), r"disagrees with \(B, T\+1, D, D\)"),
        ("observation/var", np.zeros((2, 6, 3, 3)), "disagrees with .* where B = 2, T = 6"),
        ("action/mean", np.zeros((2, 7, 1)), r"disagrees with \(B, T, F\)"),
        ("action/var", np.zeros((2, 6, 2, 2)), "disagrees"),
        ("reward/mean", np.zeros((3, 6)), "disagrees"),
        ("particles/observation", np.zeros((2, 5, 6, 3)), "disagrees"),
        ("observation/mean", np.zeros((0, 7, 3)), r"has the shape \(0, 7, 3\)"),
        ("observation/mean", np.zeros((2, 7, 3), dtype=complex), "type complex128, not floats"),
        ("observation/mean", np.full((2, 7, 3), b"x"), "not floats"),
        ("observation/mean", h5py.Empty("f8"), "is empty"),
        ("reward", np.zeros(3), "/reward in .* is not a group"),
    ],
)
def test_files_that_do_not_follow_the_schema(
    tmp_path: Path, name: str, values: Any, sentence: str
) -> None:
    write_plainly(tmp_path / "r.h5", numbers(2, 6, p=5))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        del file[name]
        if values is not None:
            file[name] = values
    refused(tmp_path / "r.h5", sentence)


def test_a_group_in_the_place_of_a_dataset(tmp_path: Path) -> None:
    write_plainly(tmp_path / "r.h5", numbers(2, 6))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        del file["observation/mean"]
        file.create_group("observation/mean")
    refused(tmp_path / "r.h5", "/observation/mean in .* is not a dataset")


@pytest.mark.parametrize("name", ["observation", "observation/mean", "reward/mean"])
@pytest.mark.parametrize("soft", [True, False])
def test_links_are_not_followed(tmp_path: Path, name: str, soft: bool) -> None:
    write_plainly(tmp_path / "other.h5", numbers(2, 6))
    write_plainly(tmp_path / "r.h5", numbers(2, 6))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file.move(name, "elsewhere")
        target = h5py.SoftLink("/elsewhere") if soft else h5py.ExternalLink("other.h5", name)
        file[name] = target
    refused(tmp_path / "r.h5", f"/{name} in .* is a link to somewhere else")


def test_numbers_in_other_files_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(2 * 7 * 3 * 8))
    for external in (True, False):
        write_plainly(tmp_path / "r.h5", numbers(2, 6))
        with h5py.File(tmp_path / "r.h5", "a") as file:
            del file["observation/mean"]
            if external:
                file.create_dataset(
                    "observation/mean", (2, 7, 3), "f8", external=[(str(secret), 0, 336)]
                )
            else:
                layout = h5py.VirtualLayout((2, 7, 3), "f8")
                layout[:] = h5py.VirtualSource("other.h5", "observation/mean", (2, 7, 3))
                file.create_virtual_dataset("observation/mean", layout)
        refused(tmp_path / "r.h5", "/observation/mean in .* keeps its numbers in other files")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "r.h5", numbers(2, 60))
    whole = (tmp_path / "r.h5").read_bytes()
    (tmp_path / "r.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "r.h5", "is damaged and can't be opened: it is truncated")


def test_damaged_numbers_are_noticed(tmp_path: Path) -> None:
    write(tmp_path / "r.h5", numbers(2, 60))
    with h5py.File(tmp_path / "r.h5") as file:
        chunk = file["observation/var"].id.get_chunk_info(0)
    content = bytearray((tmp_path / "r.h5").read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    (tmp_path / "r.h5").write_bytes(content)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert np.isfinite(rollout.mean()).all()
        with pytest.raises(InputError, match=r"/observation/var in .* the file is damaged"):
            rollout.var(0, 5)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=12))
def test_no_damage_is_worse_than_a_sentence(tmp_path: Path, places: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere: one InputError, or the very same numbers.

    Anywhere but in the heap where HDF5 keeps strings: it alone has no checksum.
    """
    path = tmp_path / "r.h5"
    arrays = numbers(1, 8)
    write(path, arrays, overwrite=True)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    for place, change in places:
        if not heap <= place % len(content) < heap + 4096:
            content[place % len(content)] ^= change
    path.write_bytes(content)
    try:
        with open_rollout(path) as rollout:
            compute(rollout)
            np.testing.assert_array_equal(rollout.mean(), arrays["observation/mean"])
            np.testing.assert_array_equal(rollout.var(), arrays["observation/var"])
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("chunks", [True, None])
def test_sizes_that_no_file_can_hold_are_refused(tmp_path: Path, chunks: bool | None) -> None:
    for shape, sentence in (((1, 10**9, 3), "claims to have"), ((1, 7, 10**5), "claims to have")):
        write_plainly(tmp_path / "r.h5", numbers(1, 6))
        with h5py.File(tmp_path / "r.h5", "a") as file:
            for name, size in (("mean", shape), ("var", (*shape, shape[-1]))):
                del file["observation"][name]
                file["observation"].create_dataset(name, size, "f8", chunks=chunks)
        refused(tmp_path / "r.h5", sentence)


def test_chunks_larger_than_memory_are_refused(tmp_path: Path) -> None:
    write_plainly(tmp_path / "r.h5", numbers(1, 6))
    with h5py.File(tmp_path / "r.h5", "a") as file:
        del file["observation/mean"]
        file.create_dataset(
            "observation/mean", (1, 7, 3), "f8", chunks=(1, 2**24, 3), maxshape=(1, None, 3)
        )
    refused(tmp_path / "r.h5", "in chunks of more than 256 MiB")


def test_more_dimensions_than_it_reads(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file.attrs["format"] = "imagine-rollout"
        file.create_dataset("observation/mean", (1, 1, 5000), "f4")
        file.create_dataset("observation/var", (1, 1, 5000, 5000), "f4")
    refused(tmp_path / "r.h5", "D = 5000 observation dimensions")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, n) for n in (40, 400, 30)]),
    chunks=st.none() | st.tuples(st.integers(1, 40), st.integers(1, 400)),
    trajectory=st.none() | st.integers(0, 39),
    budget=st.sampled_from([1, 1000, 100_000, 10**9]),
)
def test_slabs_cover_everything_once_and_stay_small(
    shape: tuple[int, int, int],
    chunks: tuple[int, int] | None,
    trajectory: int | None,
    budget: int,
) -> None:
    from imagine_cli.recording import reader

    b, s, d = shape
    if chunks is not None:
        chunks = (min(chunks[0], b), min(chunks[1], s))
    if trajectory is not None:
        trajectory %= b
    full_chunks = None if chunks is None else (*chunks, d, d)
    rollout = object.__new__(Rollout)
    rollout._datasets = {"observation/var": _Claim((b, s, d, d), full_chunks)}
    before, reader._SLAB_BYTES = reader._SLAB_BYTES, budget
    try:
        slabs = list(rollout.slabs(trajectory=trajectory))
    finally:
        reader._SLAB_BYTES = before
    seen = np.zeros((b, s), dtype=int)
    for rows, steps in slabs:
        seen[rows, steps] += 1
        size = (rows.stop - rows.start) * (steps.stop - steps.start) * d * d * 8
        chunk = d * d * 8 * (1 if chunks is None else math.prod(chunks))
        assert size <= max(budget, chunk)
    expected = np.ones((b, s), dtype=int)
    if trajectory is not None:
        expected[:] = 0
        expected[trajectory] = 1
    np.testing.assert_array_equal(seen, expected)


class _Claim:
    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> None:
        self.shape, self.chunks, self.dtype = shape, chunks, np.dtype("f8")
        self.size = math.prod(shape)


@pytest.mark.parametrize("name", ["complete", "steps", "trajectories", "seed", "policy", "real"])
def test_an_attribute_that_is_an_array_says_nothing(name: str, tmp_path: Path) -> None:
    write(tmp_path / "r.h5", numbers(2, 3))
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        file.attrs[name] = np.arange(3)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert name not in rollout.attributes
        assert getattr(rollout, name, 3) in (None, 2, 3)


def test_a_chunk_shorter_than_its_checksum_is_damage(tmp_path: Path) -> None:
    write_plainly(tmp_path / "r.h5", numbers(6, 3))
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        mean = file["observation/mean"][()]
        del file["observation/mean"]
        damaged = file.create_dataset(
            "observation/mean", data=mean, chunks=(2, 4, 3), compression="gzip", fletcher32=True
        )
        damaged.id.write_direct_chunk((4, 0, 0), b"ab")  # the last
    with pytest.raises(InputError, match="a chunk lacks its checksum"):
        open_rollout(tmp_path / "r.h5")


def test_no_filter_beside_the_formats_own_is_looked_for(tmp_path: Path) -> None:
    arrays = numbers(6, 3)
    write_plainly(tmp_path / "r.h5", arrays)
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["observation/mean"]
        file.create_dataset("observation/mean", data=arrays["observation/mean"], compression="lzf")
    with pytest.raises(InputError, match="by a filter that is none of gzip, shuffle and fletcher"):
        open_rollout(tmp_path / "r.h5")
    assert h5py.h5pl.size() == 0
