from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.recording import open_rollout, partial_file
from imagine_cli.recording.partial_file import PartialFile
from tests.helpers.rollout_files import numbers, write


@pytest.fixture(params=["flock", "no fcntl", "no locks on this disk"])
def locking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no fcntl":
        monkeypatch.setattr(partial_file, "fcntl", None)
    elif request.param == "no locks on this disk":

        def flock(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(partial_file.fcntl, "flock", flock)
    return str(request.param)


@pytest.mark.usefixtures("locking")
@pytest.mark.parametrize("overwrite", [False, True])
def test_it_appears_whole(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "a"
    if overwrite:
        target.write_bytes(b"old and longer")
    file = PartialFile(target, overwrite=overwrite)
    os.write(file.claim(), b"new")
    file.show()
    assert sorted(os.listdir(tmp_path)) == (["a", "a.partial"] if overwrite else ["a.partial"])
    file.publish()
    assert os.listdir(tmp_path) == ["a"]
    assert target.read_bytes() == b"new"


@pytest.mark.usefixtures("locking")
def test_what_a_dead_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(b"left behind, and longer than the new one")
    file = PartialFile(tmp_path / "a")
    os.write(file.claim(), b"new")
    file.publish()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_second_writer_is_turned_away(tmp_path: Path) -> None:
    first, second = PartialFile(tmp_path / "a"), PartialFile(tmp_path / "a")
    os.write(first.claim(), b"first")
    with pytest.raises(InputError, match="being written by another process"):
        second.claim()
    second.discard()  # takes nothing away from the first
    first.publish()
    assert (tmp_path / "a").read_bytes() == b"first"


@pytest.mark.usefixtures("locking")
def test_an_existing_target_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(InputError, match="exists and is not to be overwritten"):
        PartialFile(tmp_path / "a").claim()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("locking")
@pytest.mark.parametrize("links", [True, False])
def test_and_at_the_end(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PartialFile(tmp_path / "a")
    os.write(file.claim(), b"new")
    (tmp_path / "a").write_bytes(b"by someone else")
    if not links:

        def link(source: str, target: str) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    with pytest.raises(ImagineError, match="was made by someone else") as caught:
        file.publish()
    assert caught.value.exit_status == 1
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"by someone else"


def test_a_disk_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    file = PartialFile(tmp_path / "a")
    os.write(file.claim(), b"new")
    file.publish()
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_disk_that_fails_at_the_end_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "a").write_bytes(b"old")
    file = PartialFile(tmp_path / "a", overwrite=True)
    file.claim()
    with pytest.raises(ImagineError, match="a could not be written: Input/output error"):
        file.publish()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_target_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    file = PartialFile(tmp_path / "link", overwrite=True)
    os.write(file.claim(), b"new")
    file.publish()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path / "real") == ["a"]


def test_a_partial_file_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="can't be written"):
        PartialFile(tmp_path / "a").claim()
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "none" / "a", "none does not exist; make it first"),
        (lambda folder: Path(os.devnull), "is not a regular file"),
    ],
)
def test_places_where_no_file_can_be(tmp_path: Path, make: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        PartialFile(make(tmp_path), overwrite=True).claim()  # type: ignore[operator]


def test_after_a_killed_process_the_next_one_writes(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from tests.helpers.rollout_files import header
        from imagine_cli.recording import RolloutWriter
        with RolloutWriter({str(tmp_path / "r.h5")!r}, header(2, 5)):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["r.h5.partial"]
    write(tmp_path / "r.h5", numbers(2, 5))
    assert os.listdir(tmp_path) == ["r.h5"]
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.complete
