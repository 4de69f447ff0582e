from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagine_cli import InputError
from imagine_cli.checkpoint.pickled_arrays import read_arrays

GOOD = {
    "mean": np.linspace(-1, 1, 5, dtype=np.float32).reshape(1, 5),
    "std": np.asfortranarray(np.arange(12.0).reshape(3, 4) / 7),
    "big endian": np.arange(3, dtype=">f8"),
    "counts": np.arange(4),
    "one": np.float64(0.1),
    "two": 2.5,
    "three": 3,
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_it_reads_what_pickle_reads(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps(GOOD, protocol))
    found = read_arrays(path)
    assert set(found) == set(GOOD)
    for name, value in GOOD.items():
        np.testing.assert_array_equal(found[name], value)
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype.newbyteorder("=")


def test_it_reads_what_older_numpys_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    content = pickle.dumps({"mean": np.ones(3)}, 2)
    assert content.count(b"numpy._core.multiarray") == 1
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(read_arrays(path)["mean"], np.ones(3))


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.given = function, arguments

    def __reduce__(self) -> Any:
        return self.given


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["alone", "in a dict", "in an array", "after an array"])
def test_nothing_runs(tmp_path: Path, protocol: int, place: str) -> None:
    path, target = tmp_path / "a.pickle", tmp_path / "was_run"
    bomb = Calls(os.mkdir, str(target))
    content: Any = {
        "alone": bomb,
        "in a dict": {"mean": bomb},
        "in an array": {"mean": np.array([bomb], dtype=object)},
        "after an array": {"mean": np.ones(3), "std": bomb},
    }[place]
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(InputError, match=r"a\.pickle is refused"):
        read_arrays(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())  # it would have
    assert target.exists()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"mean": "text"},
        {"mean": np.array(["text"])},
        {1: np.ones(2)},
        {"mean": np.array(1, dtype="M8[s]")},
        {"mean": {"deeper": np.ones(2)}},
        {"mean": np.ndarray},
        {"mean": Calls(np.dtype, "f8")},
    ],
)
def test_what_is_no_dict_of_numbers_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"a\.pickle"):
        read_arrays(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    with pytest.raises(InputError, match=r"can't be read: No such file"):
        read_arrays(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="no pickled dict"):
        read_arrays(path)
    path.write_bytes(bytes(2**24 + 1))
    with pytest.raises(InputError, match="larger than any"):
        read_arrays(path)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_gives_a_sentence_or_numbers(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.pickle"
    whole = bytearray(pickle.dumps(GOOD, data.draw(st.integers(2, 5))))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    try:
        found = read_arrays(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert all(isinstance(value, (int, float, np.ndarray)) for value in found.values())
