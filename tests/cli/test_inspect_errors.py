from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from imagine_cli.cli import main
from imagine_cli.cli.inspect_kind import CHECKPOINT, ROLLOUT, file_kind
from imagine_cli.errors import InputError
from tests.helpers.inspect_files import linear_gaussian, save


@pytest.fixture
def rollout(tmp_path: Path) -> Path:
    return save(tmp_path / "r.h5", linear_gaussian(3, 20))


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an error of status 2."""
    assert main(["inspect", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("imagine: error: ")
    return line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trajectory", 3], "has no trajectory 3: it has trajectory 0 to 2"),
        (["--trajectory", -1], "has no trajectory -1"),
        (["--step", 21], "has no step 21: it has step 0 to 20"),
        (["--step", -1], "has no step -1"),
        (["--json", "--csv"], "--json and --csv are two answers; give one of them"),
        (["--step", "last"], "Invalid value for '--step'"),
        (["--no-such"], "No such option"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["--csv"], ["--json"]])
def test_options_that_do_not_fit(
    capsys: pytest.CaptureFixture[str],
    rollout: Path,
    options: list[object],
    expected: str,
    mode: list[str],
) -> None:
    assert expected in sentence(capsys, rollout, *mode, *options)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"step,mean,sd\n0,1,2\n", "is neither a rollout (HDF5) nor a checkpoint"),
        (np.random.default_rng(0).bytes(4000), "is neither a rollout"),
        (b"\x89HDF\r\n\x1a\n", "is damaged and can't be opened"),
    ],
)
def test_files_that_are_neither(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, expected: str
) -> None:
    (tmp_path / "r.h5").write_bytes(content)
    line = sentence(capsys, tmp_path / "r.h5")
    assert expected in line
    assert "r.h5" in line


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no file" in sentence(capsys, tmp_path / "none.h5")
    assert "is a folder" in sentence(capsys, tmp_path)
    assert "is not a regular file" in sentence(capsys, "/dev/null")
    assert "FILE" in sentence(capsys)


def test_a_rollout_that_is_damaged(capsys: pytest.CaptureFixture[str], rollout: Path) -> None:
    import h5py

    with h5py.File(rollout) as file:
        chunk = file["observation/var"].id.get_chunk_info(0)
    content = bytearray(rollout.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    rollout.write_bytes(content)
    for mode in ([], ["--json"]):
        line = sentence(capsys, rollout, *mode)
        assert "/observation/var" in line
        assert "the file is damaged" in line


def test_an_error_with_debug_is_a_traceback(rollout: Path) -> None:
    with pytest.raises(InputError, match="has no step 99"):
        main(["inspect", str(rollout), "--step", "99", "--debug"])


def test_the_kind_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    h5 = save(tmp_path / "a.pt", linear_gaussian(1, 2))
    assert file_kind(h5) == ROLLOUT
    behind = tmp_path / "behind"
    behind.write_bytes(bytes(1024) + h5.read_bytes())  # a user block comes first
    assert file_kind(behind) == ROLLOUT
    with zipfile.ZipFile(tmp_path / "b.h5", "w") as archive:
        archive.writestr("data.pkl", b"")
    assert file_kind(tmp_path / "b.h5") == CHECKPOINT
    for protocol in (2, 4, 5):
        (tmp_path / "c.h5").write_bytes(pickle.dumps({"a": 1}, protocol))
        assert file_kind(tmp_path / "c.h5") == CHECKPOINT
