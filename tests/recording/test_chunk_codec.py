from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.recording.chunk_codec import encode, fletcher32


def fletcher_word_by_word(data: bytes) -> int:
    """As HDF5's H5_checksum_fletcher32 does it: sums folded after every 360 words."""
    data += b"\0" * (len(data) % 2)
    first = second = 0
    for k in range(0, len(data), 2):
        first += data[k] << 8 | data[k + 1]
        second += first
        if k // 2 % 360 == 359:
            first = (first & 0xFFFF) + (first >> 16)
            second = (second & 0xFFFF) + (second >> 16)
    for _ in range(8):
        first = (first & 0xFFFF) + (first >> 16)
        second = (second & 0xFFFF) + (second >> 16)
    return second << 16 | first


@given(st.binary(max_size=3000))
def test_the_checksum_is_hdf5s(data: bytes) -> None:
    assert fletcher32(data) == fletcher_word_by_word(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 9, b"\xff" * 700_001, b"\x01\x02" * 300_000])
def test_also_where_sums_are_zero_or_large(data: bytes) -> None:
    assert fletcher32(data) == fletcher_word_by_word(data)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 4)),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_hdf5_reads_what_it_makes(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: str,
    seed: int,
) -> None:
    path: Path = tmp_path_factory.mktemp("codec") / "c.h5"
    numbers = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    with h5py.File(path, "w") as file:
        settings = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        dataset = file.create_dataset("x", shape, dtype, chunks=shape, fletcher32=True, **settings)
        dataset.id.write_direct_chunk((0, 0, 0), encode(numbers))
    with h5py.File(path) as file:  # which fails where the checksum is wrong
        assert np.array_equal(file["x"][()], numbers)
