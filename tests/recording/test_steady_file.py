from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.recording import open_rollout
from imagine_cli.recording.steady_file import SteadyFile
from tests.helpers.rollout_files import numbers, write


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), fails_after=st.none() | st.integers(0, 20))
def test_it_reads_what_was_written_whether_or_not_the_disk_took_it(
    seed: int, fails_after: int | None
) -> None:
    draw = random.Random(seed)
    expected = io.BytesIO()
    with tempfile.TemporaryFile() as file:
        steady = SteadyFile(file.fileno())
        for number in range(30):
            if number == fails_after:
                steady.error = OSError(28, "No space left on device")
            place, data = draw.randrange(200), draw.randbytes(draw.randrange(1, 60))
            steady.seek(place)
            expected.seek(place)
            assert steady.write(memoryview(data)) == expected.write(data)
            assert steady.tell() == expected.tell()
        whole = expected.getvalue()
        assert steady.seek(0, os.SEEK_END) == len(whole)
        place, size = draw.randrange(len(whole)), draw.randrange(1, 300)
        steady.seek(place)
        assert steady.read(size) == whole[place : place + size].ljust(size, b"\0")


def test_the_first_error_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)  # so that writing to it fails
    steady = SteadyFile(descriptor)
    steady.seek(1)
    assert steady.write(memoryview(b"new")) == 3
    first = steady.error
    assert first is not None
    steady.truncate(2)
    steady.write(memoryview(b"x"))
    assert steady.error is first
    steady.seek(0)
    assert steady.read(4) == b"onew"
    os.close(descriptor)


def test_a_reader_sees_the_file_of_the_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    steady = SteadyFile(descriptor)

    def put(place: int, data: bytes) -> None:
        steady.seek(place)
        steady.write(memoryview(data))

    put(0, b"head")
    put(4, b"body")
    steady.commit()
    put(0, b"HEAD")
    put(6, b"DYtail")  # over the end of what is committed
    steady.truncate(12)
    assert path.read_bytes() == b"headbodytail"
    assert steady.seek(0) == 0
    assert steady.read(12) == b"HEADboDYtail"
    steady.truncate(10)
    steady.commit()
    assert path.read_bytes() == b"HEADboDYta"
    put(2, b"xx")
    put(10, b"never committed")
    steady.seal()
    assert path.read_bytes() == b"HEADboDYta"
    put(0, b"yy")
    steady.commit()
    assert path.read_bytes() == b"HEADboDYta"
    os.close(descriptor)


FULL = """
import resource, sys
sys.path.insert(0, {helpers!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from pathlib import Path
from tests.helpers.rollout_files import numbers, write
from imagine_cli.errors import ImagineError
try:
    write(Path({path!r}), numbers(4, 600, 5), block=50, overwrite=True)
except ImagineError as error:
    print(error.exit_status, error)
"""


@pytest.mark.parametrize("limit", [100, 9_000, 30_000, 200_000, 600_000])
def test_a_full_disk_is_one_sentence_and_no_crash(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "r.h5"
    path.write_bytes(b"old")
    program = FULL.format(helpers=str(Path(__file__).parents[2]), limit=limit, path=str(path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 {path} could not be written: File too large\n"
    assert os.listdir(tmp_path) == ["r.h5"]
    assert path.read_bytes() == b"old"


def test_that_rollout_fits_where_there_is_room(tmp_path: Path) -> None:
    write(tmp_path / "r.h5", numbers(4, 600, 5), block=50)
    assert (tmp_path / "r.h5").stat().st_size > 600_000
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.complete


STORM = """
import os, signal, sys, threading
sys.path.insert(0, {helpers!r})
from pathlib import Path
from tests.helpers.rollout_files import numbers, write
write(Path({path!r}), numbers(8, 30, 6), overwrite=True)
arrays = numbers(8, 3000, 6)
for k in range({times}):
    timer = threading.Timer({apart} * (k + 1), lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            write(Path({path!r}), arrays, block=50, overwrite=True)
    except KeyboardInterrupt:
        assert [thread.name for thread in threading.enumerate() if thread.name == "recording"] == []
        assert os.listdir(Path({path!r}).parent) == ["r.h5"]
print("interrupted")
"""


@pytest.mark.parametrize(
    ("times", "apart"), [(5, 0.05), pytest.param(100, 0.003, marks=pytest.mark.long)]
)
def test_ctrl_c_in_the_midst_of_writing_breaks_nothing(
    tmp_path: Path, times: int, apart: float
) -> None:
    program = STORM.format(
        helpers=str(Path(__file__).parents[2]),
        path=str(tmp_path / "r.h5"),
        times=times,
        apart=apart,
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
