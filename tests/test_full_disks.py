"""No room, no rights, no folder: a sentence, status 1 or 2, and nothing is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagine_cli import load_world_model, open_rollout, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.inspection.statistics import compute
from tests.helpers.linear_systems import linear_model

ROLLOUT = [
    "rollout",
    "--env",
    "Pendulum-v1",
    "--model",
    "wm.pt",
    "-q",
    "-n",
    "150",
    "--steps",
    "300",
]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    save_world_model(
        linear_model(3, 1, reward=False), tmp_path / "wm.pt", env=describe(make_env("Pendulum-v1"))
    )
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs rights that these tests don't have")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def imagine(*arguments: str, cwd: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-m", "imagine_cli"]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def check_sentence(done: subprocess.CompletedProcess[str], sentence: str, status: int = 1) -> None:
    assert done.returncode == status, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("imagine: error:")]
    assert len(errors) == 1, done.stderr
    assert sentence in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.long
def test_a_full_disk_and_then_some_room(here: Path, small_disk: Path) -> None:
    whole = imagine(*ROLLOUT, "-o", "whole.h5", cwd=here)
    assert whole.returncode == 0, whole.stderr
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(8 * 2**20 - int(0.8 * (here / "whole.h5").stat().st_size)))
    target = small_disk / "r.h5"
    done = imagine(*ROLLOUT, "-o", str(target), cwd=here)
    check_sentence(done, f"{target} could not be written: No space left on device")
    assert "what was done is in r.h5.partial; go on with: imagine rollout" in done.stderr
    assert done.stderr.splitlines()[0].endswith("--resume")
    assert sorted(os.listdir(small_disk)) == ["ballast", "r.h5.partial"]
    with open_rollout(small_disk / "r.h5.partial") as rollout:
        assert rollout.complete is False
        compute(rollout)
    # What goes on needs room for both, until it has caught up.
    shutil.move(small_disk / "r.h5.partial", here / "r.h5.partial")
    again = imagine(*ROLLOUT, "-o", "r.h5", "--resume", cwd=here)
    assert again.returncode == 0, again.stderr
    same = imagine("compare", "r.h5", "whole.h5", cwd=here)
    assert same.returncode == 0, same.stdout


@pytest.mark.long
@pytest.mark.parametrize("room", [4096, 8192])
def test_a_full_disk_for_a_fit(here: Path, small_disk: Path, room: int) -> None:
    """No room for the model, so that the old one stays; room for it, and none for its scores."""
    model = small_disk / "wm.pt"
    model.write_bytes(b"old")
    (small_disk / "ballast").write_bytes(bytes(8 * 2**20 - room))
    done = imagine(
        "fit", "--env", "Pendulum-v1", "--kind", "linear", "--steps", "200", "-q", "--force",
        "-o", str(model), cwd=here,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert sorted(os.listdir(small_disk)) == ["ballast", "wm.pt"]
    *before, sentence = done.stderr.splitlines()
    assert "could not be written" in sentence
    if room == 4096:
        assert model.read_bytes() == b"old"
        assert before == []
    else:
        assert before == [f"imagine: {model} is written, without scores"]
        load_world_model(model)


def test_a_limit_of_file_sizes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    assert main([*ROLLOUT, "-o", "whole.h5"]) == 0
    blocks = int(0.8 * (here / "whole.h5").stat().st_size) // 1024
    done = imagine(*ROLLOUT, cwd=here, before=f"ulimit -f {blocks};")
    check_sentence(done, "rollout.h5 could not be written: File too large")
    assert sorted(os.listdir(here)) == ["rollout.h5.partial", "whole.h5", "wm.pt"]
    with open_rollout(here / "rollout.h5.partial") as rollout:
        assert rollout.complete is False
    assert main([*ROLLOUT, "--resume"]) == 0
    assert sorted(os.listdir(here)) == ["rollout.h5", "whole.h5", "wm.pt"]


@pytest.mark.long
def test_a_read_only_folder(here: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = imagine(*ROLLOUT, "-o", str(small_disk / "r.h5"), cwd=here)
    check_sentence(done, "is not writable", status=2)
    fit = ["fit", "--env", "Pendulum-v1", "--kind", "linear", "-q"]
    done = imagine(*fit, "-o", str(small_disk / "wm.pt"), cwd=here)
    check_sentence(done, "is not writable", status=2)


@pytest.mark.long
def test_a_folder_that_vanishes(here: Path) -> None:
    (here / "folder").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "-o", "folder/r.h5"],
        cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (here / "folder" / "r.h5.partial").exists():
        assert process.poll() is None
        time.sleep(0.01)
    shutil.rmtree(here / "folder")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert "r.h5 could not be written: No such file or directory" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["inspect r.h5", "inspect r.h5 --json", "--help"])
def test_stdout_that_takes_nothing(tmp_path: Path, command: str) -> None:
    shutil.copy(Path(__file__).parent / "data" / "moments.h5", tmp_path / "r.h5")
    for to, sentence in [
        (">/dev/full", "could not be written to stdout: No space left on device"),
        (">&-", "stdout is closed"),
    ]:
        done = imagine(*command.split(), cwd=tmp_path, before=f"exec {to};")
        check_sentence(done, sentence)
