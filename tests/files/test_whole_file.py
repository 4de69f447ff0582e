"""Files that appear whole or not at all, whoever writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from imagine_cli import ImagineError, InputError
from imagine_cli.evaluation.junit import write_junit
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.plots.picture import save_picture


def test_it_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with whole_file(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
def test_what_goes_wrong_leaves_all_as_it_was(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(type(error)), whole_file(path) as file:
        file.write(b"after")
        raise error
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_that_refuses_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ImagineError, match=r"^the thing could not be written: No space left on"),
        whole_file(tmp_path / "a", "the thing"),
    ):
        raise OSError(28, os.strerror(28))
    with (
        pytest.raises(ImagineError, match=r"a could not be written: ffmpeg ended$"),
        whole_file(tmp_path / "a"),
    ):
        raise OSError("ffmpeg ended\nsomewhere")
    assert not os.listdir(tmp_path)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for path, sentence in (
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "there", "exists; give --force"),
        (tmp_path / "none" / "a", "none does not exist; make it first"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_writable(path, overwrite=False)
    check_writable(tmp_path / "there", overwrite=True)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_junit([], path),
        lambda path: save_picture(Figure(), path, "a title"),
    ],
    ids=["junit", "picture"],
)
@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_reports_and_pictures_leave_nothing_behind(
    write: Callable[[Path], None],
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((ImagineError, KeyboardInterrupt)):
        write(tmp_path / "a.svg")
    assert not os.listdir(tmp_path)


def test_it_needs_no_torch() -> None:
    script = "import sys, imagine_cli.files.whole_file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
