"""Files that appear whole or not at all, whoever writes them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from matplotlib.figure import Figure

from imagine_cli import ImagineError, InputError
from imagine_cli.evaluation.junit import write_junit
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.plots.picture import save_picture


def test_it_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with whole_file(path, overwrite=True) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
def test_what_goes_wrong_leaves_all_as_it_was(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(type(error)), whole_file(path, overwrite=True) as file:
        file.write(b"after")
        raise error
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_that_refuses_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ImagineError, match=r"^the thing could not be written: No space left on"),
        whole_file(tmp_path / "a", "the thing", overwrite=False),
    ):
        raise OSError(28, os.strerror(28))
    with (
        pytest.raises(ImagineError, match=r"a could not be written: ffmpeg ended$"),
        whole_file(tmp_path / "a", overwrite=False),
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


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_device_or_a_pipe_is_never_replaced(overwrite: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(place)
        for path in (place, tmp_path / "link"):
            with (
                pytest.raises(InputError, match="is not a regular file"),
                whole_file(path, overwrite=overwrite),
            ):
                pytest.fail("it was begun")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for content in (b"first", b"second"):
        with whole_file(tmp_path / "link", overwrite=True) as file:
            file.write(content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_writers_at_once_each_is_whole_and_without_force_one_has_the_name(
    overwrite: bool, tmp_path: Path
) -> None:
    for trial in range(20):
        path, barrier = tmp_path / f"{trial}", Barrier(4)

        def write(content: bytes, path: Path = path, barrier: Barrier = barrier) -> bool:
            try:
                with whole_file(path, overwrite=overwrite) as file:
                    barrier.wait()
                    file.write(content * 3000)
                    file.flush()
                    file.write(content * 3000)
            except ImagineError:
                return False
            return True

        contents = [b"a", b"b", b"c", b"d"]
        with ThreadPoolExecutor(4) as pool:
            wrote = list(pool.map(write, contents))
        assert sum(wrote) == (4 if overwrite else 1)
        found = path.read_bytes()
        assert found in [
            content * 6000 for content, done in zip(contents, wrote, strict=True) if done
        ]
    assert len(os.listdir(tmp_path)) == 20


def test_a_name_of_250_bytes_is_none_too_long(tmp_path: Path) -> None:
    with whole_file(tmp_path / ("a" * 250), overwrite=False) as file:
        file.write(b"x")
    with (
        pytest.raises(InputError, match="can't be written: File name too long"),
        whole_file(tmp_path / ("a" * 256), overwrite=False),
    ):
        pytest.fail("it was begun")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_junit([], path, overwrite=True),
        lambda path: save_picture(Figure(), path, "a title", overwrite=True),
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
