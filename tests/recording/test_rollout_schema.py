from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagine_cli.recording.schema import chunk_lengths
from tests.helpers.rollout_files import header


@given(
    trajectories=st.integers(1, 10**6),
    steps=st.integers(1, 10**7),
    row_bytes=st.integers(4, 2**27),
)
def test_chunks_are_about_half_a_mebibyte(trajectories: int, steps: int, row_bytes: int) -> None:
    b, t = chunk_lengths(trajectories, steps, row_bytes)
    assert 1 <= b <= trajectories
    assert 1 <= t <= steps
    assert b * t * row_bytes <= max(512 * 1024, row_bytes)
    if trajectories * steps * row_bytes >= 512 * 1024 >= row_bytes * 64 and steps >= 64:
        assert t >= 64
        assert b * t * row_bytes >= 64 * 1024 or b == trajectories


def test_a_header_dates_itself_in_utc() -> None:
    created = datetime.fromisoformat(header(1, 1).created)
    assert created.utcoffset() == timedelta(0)


def test_a_header_becomes_plain_attributes() -> None:
    attributes = header(
        2, 5, env_kwargs={"b": 1, "a": [1.5]}, extra={"start": "reset"}
    ).attributes()
    assert attributes["env_kwargs"] == '{"a": [1.5], "b": 1}'
    assert attributes["format"] == "imagine-rollout"
    assert attributes["format_version"] == 1
    assert (attributes["trajectories"], attributes["steps"]) == (2, 5)
    assert attributes["start"] == "reset"
    assert attributes["h5py_version"]
    assert attributes["imagine_version"]


@pytest.mark.parametrize("name", ["format", "complete", "seed", "torch_version"])
def test_extra_attributes_may_not_replace_the_formats_own(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        header(1, 1, extra={name: 1}).attributes()


def test_bounds_need_one_number_for_each_name() -> None:
    low, high = header(1, 1, observation_low=[0, 1, 2]).bounds()
    assert low.dtype == high.dtype == np.float64
    with pytest.raises(ValueError, match=r"\(2,\).*must be \(3,\)"):
        header(1, 1, observation_low=[0, 1]).bounds()


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import imagine_cli.recording", {"torch", "h5py", "torchrl", "gymnasium"}),
        ("from imagine_cli.recording import RolloutHeader", {"torch", "h5py", "torchrl"}),
        (
            "from imagine_cli.recording import open_rollout, RolloutWriter",
            {"torch", "torchrl", "tensordict", "gymnasium"},
        ),
    ],
)
def test_what_an_import_brings_along(code: str, absent: set[str]) -> None:
    program = f"{code}\nimport sys\nprint(sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
