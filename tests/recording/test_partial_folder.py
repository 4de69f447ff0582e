"""One writer at a time, dead writers, resuming, and the name that the file takes at the end."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imagine_cli.errors import DiskError, ImagineError, InputError, Interrupted
from imagine_cli.recording import RolloutWriter, open_rollout, partial_folder
from tests.helpers.rollout_files import header, numbers, part, write, writer_of

ARRAYS = numbers(6, 300, 17)
ABOUT = header(6, 300, 17, created="now")


def writer_at(path: Path, **options: object) -> RolloutWriter:
    """Of several shards: 1 trajectory x 256 steps, or fewer."""
    return writer_of(path, ARRAYS, ABOUT, together=1, **options)


def left_behind(path: Path, count: int, **options: object) -> None:
    """An interrupted writer's folder, with so many shards."""
    with pytest.raises(Interrupted), writer_at(path, **options) as writer:
        for shard in writer.shards[:count]:
            writer.write(shard, part(ARRAYS, writer, shard), {"k": np.array(shard)})
        raise Interrupted("interrupted")


def finish(path: Path, **options: object) -> int:
    """Write what is missing; how many shards were there."""
    with writer_at(path, **options) as writer:
        missing = [shard for shard in writer.shards if not writer.has(shard)]
        for shard in missing:
            writer.write(shard, part(ARRAYS, writer, shard), {"k": np.array(shard)})
        return len(writer.shards) - len(missing)


@pytest.fixture
def bytes_expected(tmp_path: Path) -> bytes:
    finish(tmp_path / "expected.h5")
    content = (tmp_path / "expected.h5").read_bytes()
    (tmp_path / "expected.h5").unlink()
    return content


@pytest.fixture(params=["flock", "no fcntl", "no locks on this disk"])
def locking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no fcntl":
        monkeypatch.setattr(partial_folder, "fcntl", None)
    elif request.param == "no locks on this disk":

        def flock(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(partial_folder.fcntl, "flock", flock)
    return str(request.param)


@pytest.mark.usefixtures("locking")
def test_a_dead_writers_folder_is_replaced(tmp_path: Path, bytes_expected: bytes) -> None:
    left_behind(tmp_path / "r.h5", 2)
    with writer_at(tmp_path / "r.h5") as writer:
        assert (writer.replaces, writer.resumed) == (True, False)
        assert not any(writer.has(shard) for shard in writer.shards)
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard), {"k": np.array(shard)})
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected
    assert os.listdir(tmp_path) == ["r.h5"]


@pytest.mark.usefixtures("locking")
def test_or_gone_on_from(tmp_path: Path, bytes_expected: bytes) -> None:
    left_behind(tmp_path / "r.h5", 2)
    later = {"created": "later", "command": "imagine rollout ... --resume"}
    about = header(6, 300, 17, **later)
    with writer_of(tmp_path / "r.h5", ARRAYS, about, resume=True) as writer:
        assert (writer.replaces, writer.resumed) == (False, True)
        assert [writer.has(shard) for shard in writer.shards] == [True] * 2 + [False] * (
            len(writer.shards) - 2
        )
        for shard in writer.shards[:2]:
            np.testing.assert_array_equal(writer.state(shard)["k"], shard)
        for shard in reversed(writer.shards[2:]):
            writer.write(shard, part(ARRAYS, writer, shard), {"k": np.array(shard)})
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected


def test_resuming_nothing_begins_anew(tmp_path: Path, bytes_expected: bytes) -> None:
    assert finish(tmp_path / "r.h5", resume=True) == 0
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 8}, "its seed is '7', and now it is '8'"),
        ({"extra": {"arguments": '{"dtype": "float32"}'}}, "its arguments is missing"),
        ({"observation_names": [f"p{i}" for i in range(17)]}, "its observation_names is"),
    ],
)
def test_another_rollouts_is_refused_and_stays(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    left_behind(tmp_path / "r.h5", 2)
    with pytest.raises(InputError, match=f"{sentence}.*leave out --resume to start anew"):
        writer_of(tmp_path / "r.h5", ARRAYS, header(6, 300, 17, **changes), resume=True).__enter__()
    assert finish(tmp_path / "r.h5", resume=True) == 2


def test_the_first_option_that_differs_is_named(tmp_path: Path) -> None:
    path, arrays = tmp_path / "r.h5", numbers(2, 5)
    for value, expected in ((1, Interrupted), (2, InputError)):
        extra = {"arguments": f'{{"policy": "random", "save_particles": {value}}}'}
        about = header(2, 5, extra=extra)
        with (
            pytest.raises(expected, match="its --save-particles is '1', and now it is '2'|stop"),
            writer_of(path, arrays, about, resume=True) as writer,
        ):
            writer.write(writer.shards[0], arrays)
            raise Interrupted("stop")


@pytest.mark.parametrize("damage", ["byte", "empty", "cut", "foreign", "moved"])
def test_a_damaged_or_foreign_shard_is_made_again(
    tmp_path: Path, damage: str, bytes_expected: bytes
) -> None:
    path = tmp_path / "r.h5"
    left_behind(path, 4)
    first, second = sorted((tmp_path / "r.h5.partial").glob("shard-*"))[:2]
    content = bytearray(first.read_bytes())
    if damage == "byte":
        content[random.Random(0).randrange(len(content))] ^= 1
    elif damage in ("empty", "cut"):
        del content[{"empty": 0, "cut": len(content) // 2}[damage] :]
    elif damage == "moved":
        content = bytearray(second.read_bytes())
    else:
        with pytest.raises(Interrupted):
            write_other(tmp_path / "other.h5")
        content = bytearray((tmp_path / "other.h5.partial" / first.name).read_bytes())
    first.write_bytes(content)
    with open_rollout(tmp_path / "r.h5.partial") as rollout:
        assert np.isnan(rollout.mean(0, 0)).all()
        assert np.isfinite(rollout.mean(1, 0)).all()
    assert finish(path, resume=True) == 3
    assert path.read_bytes() == bytes_expected


def write_other(path: Path) -> None:
    with writer_of(path, ARRAYS, header(6, 300, 17, seed=8), together=1) as writer:
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard))
        raise Interrupted("stop")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": "imagine-rollout-shards"}', "null",
     ("attributes", "seed", "1e400"), ("attributes", "seed", "[1]"), ("attributes", "steps", "NaN"),
     ("attributes", "trajectories", "1e400"), ("observation_low", 0, '""'),
     ("observation_low", 0, "1" + "0" * 400), ("observation_high", 0, "{}")],
)  # fmt: skip
def test_a_damaged_manifest(tmp_path: Path, text: str | tuple[str, str | int, str]) -> None:
    left_behind(tmp_path / "r.h5", 2)
    manifest = tmp_path / "r.h5.partial" / "manifest.json"
    if not isinstance(text, str):  # one value is another
        name, key, value = text
        document = json.loads(manifest.read_text())
        document["rollout"][name][key] = "odd"
        text = json.dumps(document).replace('"odd"', value)
    manifest.write_text(text)
    with pytest.raises(InputError, match="manifest.json is damaged .* leave out --resume"):
        writer_at(tmp_path / "r.h5", resume=True).__enter__()
    with pytest.raises(InputError, match="manifest.json is damaged"):
        open_rollout(tmp_path / "r.h5.partial")
    assert finish(tmp_path / "r.h5") == 0


def test_a_second_writer_is_turned_away(tmp_path: Path, bytes_expected: bytes) -> None:
    with writer_at(tmp_path / "r.h5") as writer:
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard), {"k": np.array(shard)})
        for options in ({}, {"resume": True}):
            with pytest.raises(InputError, match="being written by another process"):
                writer_at(tmp_path / "r.h5", **options).__enter__()
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected


@pytest.mark.usefixtures("locking")
def test_an_existing_target_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "r.h5").write_bytes(b"old")
    with pytest.raises(InputError, match="exists; give --force"):
        writer_at(tmp_path / "r.h5").__enter__()
    assert os.listdir(tmp_path) == ["r.h5"]


@pytest.mark.usefixtures("locking")
@pytest.mark.parametrize("links", [True, False])
def test_and_at_the_end(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with (
        pytest.raises(ImagineError, match="was made by someone else") as caught,
        writer_at(tmp_path / "r.h5") as writer,
    ):
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard))
        (tmp_path / "r.h5").write_bytes(b"by someone else")
    assert (caught.value.exit_status, type(caught.value)) == (1, ImagineError)
    assert os.listdir(tmp_path) == ["r.h5"]
    assert (tmp_path / "r.h5").read_bytes() == b"by someone else"


def no_links(source: str, target: str) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_disk_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_expected: bytes
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    finish(tmp_path / "r.h5")
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected
    assert os.listdir(tmp_path) == ["r.h5"]


def test_a_disk_that_fails_at_the_end_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_expected: bytes
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DiskError, match=r"r\.h5 could not be written: Input/output error"):
            finish(tmp_path / "r.h5")
    assert os.listdir(tmp_path) == ["r.h5.partial"]
    assert finish(tmp_path / "r.h5", resume=True) == len(writer_at(tmp_path / "r.h5").shards)
    assert (tmp_path / "r.h5").read_bytes() == bytes_expected


def test_a_target_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "r.h5").write_bytes(b"old")
    (tmp_path / "link.h5").symlink_to(tmp_path / "real" / "r.h5")
    finish(tmp_path / "link.h5", overwrite=True)
    assert (tmp_path / "link.h5").is_symlink()
    assert os.listdir(tmp_path / "real") == ["r.h5"]
    with open_rollout(tmp_path / "link.h5") as rollout:
        assert rollout.complete


def test_a_partial_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "r.h5.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="can't be written"):
        writer_at(tmp_path / "r.h5").__enter__()
    assert os.listdir(tmp_path / "precious") == []


def test_what_is_not_ours_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "r.h5.partial").mkdir()
    (tmp_path / "r.h5.partial" / "notes.txt").write_text("mine")
    finish(tmp_path / "r.h5")
    assert os.listdir(tmp_path / "r.h5.partial") == ["notes.txt"]


def test_a_partial_file_of_version_0_1(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", numbers(2, 5))
    os.replace(tmp_path / "a.h5", tmp_path / "r.h5.partial")
    with open_rollout(tmp_path / "r.h5.partial") as rollout:
        assert rollout.mean().shape == (2, 6, 3)
    with pytest.raises(InputError, match="version 0.1 .* leave out --resume"):
        writer_at(tmp_path / "r.h5", resume=True).__enter__()
    with writer_at(tmp_path / "r.h5") as writer:
        assert writer.replaces
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard))
    assert os.listdir(tmp_path) == ["r.h5"]


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
        writer_at(make(tmp_path), overwrite=True).__enter__()  # type: ignore[operator]


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "r.h5"
    with (
        pytest.raises(DiskError, match=r"r\.h5 could not be written: No such file"),
        writer_at(path) as writer,
    ):
        for shard in writer.shards:
            writer.write(shard, part(ARRAYS, writer, shard))
            shutil.rmtree(tmp_path / "folder", ignore_errors=True)
    assert os.listdir(tmp_path) == []


WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.recording.test_partial_folder import finish
print("ready", flush=True)
finish(Path(sys.argv[1]), resume=True)
"""


def started(path: Path) -> subprocess.Popen[str]:
    program = WRITER.format(root=str(Path(__file__).parents[2]))
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.long
def test_kills_at_any_moment_lose_nothing(tmp_path: Path, bytes_expected: bytes) -> None:
    rng, path = random.Random(1), tmp_path / "r.h5"
    begun = time.perf_counter()
    assert started(path).wait(60) == 0
    seconds = time.perf_counter() - begun
    for _ in range(12):
        path.unlink(missing_ok=True)
        there = 0
        while not path.exists():
            process = started(path)
            time.sleep(rng.uniform(0, seconds))
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            shards = list((tmp_path / "r.h5.partial").glob("shard-*.h5"))
            assert path.exists() or len(shards) >= there
            there = len(shards)
        assert path.read_bytes() == bytes_expected
        assert set(os.listdir(tmp_path)) <= {"r.h5", "r.h5.partial"}


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from imagine_cli.errors import DiskError
from tests.recording.test_partial_folder import finish
try:
    finish(Path({path!r}), resume=True)
except DiskError as error:
    print(error)
"""


@pytest.mark.long
def test_a_limit_of_file_sizes_meets_shards_and_the_merge(
    tmp_path: Path, bytes_expected: bytes
) -> None:
    """At every size of the merged file: HDF5 survives each of its writes being refused."""
    path, size = tmp_path / "r.h5", len(bytes_expected)
    left_behind(path, 10**9)
    for limit in [1, 4096, *(size * k // 8 for k in range(1, 8)), size - 1]:
        program = LIMITED.format(limit=limit, root=str(Path(__file__).parents[2]), path=str(path))
        done = subprocess.run(
            [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "r.h5 could not be written: File too large" in done.stdout
        assert os.listdir(tmp_path) == ["r.h5.partial"]
        assert not (tmp_path / "r.h5.partial" / "merged.h5").exists()
    finish(path, resume=True)
    assert path.read_bytes() == bytes_expected
