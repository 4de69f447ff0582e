"""The engine ``processes``, with real ones: the bytes of ``local``, whatever befalls them."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imagine_cli import open_rollout
from imagine_cli.cli import main
from imagine_cli.engines.processes import ProcessesEngine
from imagine_cli.errors import DiskError, ImagineError, InputError
from imagine_cli.recording.merge import merge_parts
from tests.helpers.pooled_rollouts import ROOT, folder, roll
from tests.helpers.troubled_env import ENV_ID

assert folder


def test_the_bytes_of_local(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    roll("local.h5")
    capfd.readouterr()
    command = ["rollout", "--env", ENV_ID, "--env-kwarg", f'folder="{folder}"', "--model", "wm.pt"]
    command += ["-n", "600", "--steps", "50", "--seed", "3", "--json"]
    assert main([*command, "-o", "pooled.h5", "--engine", "processes", "--workers", "2"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert sum(tally["shards"] for tally in said["workers"].values()) == 5
    assert said["lost"] == 0
    with open_rollout("local.h5") as local, open_rollout("pooled.h5") as pooled:
        assert (pooled.mean() == local.mean()).all()
        assert (pooled.var() == local.var()).all()


def _number(worker: multiprocessing.process.BaseProcess) -> int:
    return int(worker.name.rpartition("-")[2])


@pytest.mark.long
def test_twenty_kills_a_crash_and_a_hang(folder: Path) -> None:
    """A kill at a random moment after each shard; a reset that kills, and one that never ends."""
    roll("local.h5", trajectories=6000)
    Path("slow").write_text("0.001")
    for trouble in ("crash", "hang"):
        Path(trouble).touch()
    rng, over, killed = random.Random(0), threading.Event(), 0

    def kill() -> None:
        nonlocal killed
        seen = 0
        while killed < 20 and not over.wait(rng.uniform(0, 0.3)):
            shards = len(list(folder.glob("r.h5.partial/shard-*.h5")))
            if shards > seen:  # and the eldest, as six kills at one shard would be the end
                os.kill(
                    min(multiprocessing.active_children(), key=_number).pid or 0, signal.SIGKILL
                )
                seen, killed = shards, killed + 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = roll("r.h5", engine=ProcessesEngine(workers=2, time_limit=5), trajectories=6000)
    finally:
        over.set()
        killer.join()
    assert killed == 20
    assert 10 <= summary.lost <= 22  # others had nothing to do, or not yet
    assert not list(folder.glob("crash")) + list(folder.glob("hang"))
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()
    assert sorted(os.listdir()) == ["local.h5", "r.h5", "slow", "wm.pt"]


@pytest.mark.long
def test_a_task_that_hangs_twice_is_a_sentence(folder: Path) -> None:
    for k in range(2):
        Path(f"hang{k}").touch()
    with pytest.raises(ImagineError, match="took longer than --time-limit 1, 2 times"):
        roll("r.h5", trajectories=9, engine=ProcessesEngine(workers=1, time_limit=1))
    assert os.listdir() == ["wm.pt"]


SCRIPT = """
from pathlib import Path
from tests.helpers.pooled_rollouts import Noon, roll, schema
if __name__ == "__main__":
    schema.datetime = Noon
    roll("r.h5", engine="processes", trajectories=900)
"""


@pytest.mark.long
def test_another_engine_goes_on_for_a_driver_that_was_killed(folder: Path) -> None:
    roll("local.h5", trajectories=900)
    Path("slow").write_text("0.005")
    Path("script.py").write_text(SCRIPT)
    driver = subprocess.Popen([sys.executable, "script.py"], env={**os.environ, "PYTHONPATH": ROOT})
    partial = folder / "r.h5.partial"
    while not list(partial.glob("shard-*.h5")):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    Path("slow").unlink()
    time.sleep(1)  # in which workers notice
    there = list(partial.glob("shard-*.h5"))
    roll("r.h5", resume=True, trajectories=900)
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()
    assert 0 < len(there) < 7


@pytest.mark.long
def test_a_full_disk(folder: Path) -> None:
    """Of the workers: they may write files of no more than half a shard."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DiskError, match="r.h5 could not be written: File too large"):
            roll("r.h5", engine=ProcessesEngine(workers=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    roll("r.h5", resume=(folder / "r.h5.partial").exists())


def test_parts_make_the_file_and_say_what_is_missing(folder: Path) -> None:
    roll("local.h5")
    for k in (2, 4):
        assert roll("r.h5", part=(k, 4)).trajectories < 600
    with open_rollout("r.h5.partial") as rollout:
        assert rollout.complete is False
    with pytest.raises(ImagineError, match="run again these parts: 1/4 3/4"):
        merge_parts(folder / "r.h5.partial")
    for k in (1, 3, 3):
        roll("r.h5", part=(k, 4))
    with open_rollout("r.h5.partial") as parts, open_rollout("local.h5") as local:
        assert parts.complete
        assert (parts.mean() == local.mean()).all()
    assert main(["compare", "r.h5.partial", "local.h5"]) == 0
    assert main(["inspect", "r.h5.partial", "--json"]) == 0
    with pytest.raises(InputError, match="is of another rollout: its --seed is '3', and now"):
        roll("r.h5", part=(1, 4), seed=4)
    assert main(["merge", "r.h5.partial", "-q"]) == 0
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()
    assert sorted(os.listdir()) == ["local.h5", "r.h5", "wm.pt"]


@pytest.mark.parametrize("part", ["0/4", "5/4", "1/6", "x", "1/0", "1/4/2"])
def test_there_is_no_such_part(folder: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["rollout", "--env", ENV_ID, "--env-kwarg", f'folder="{folder}"', "--model", "wm.pt"]
    assert main([*command, "-n", "600", "--shard", part]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("imagine: error: --shard")
    assert os.listdir() == ["wm.pt"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--workers 0 --engine processes", "--workers is 0; it must be 1 or more"),
        ("--workers 2", "--workers is no option of --engine local"),
        ("--engine nowhere", "no engine 'nowhere'; there is local, processes, ray"),
        ("--engine ray --address 127.0.0.1:9", "no Ray cluster answers at --address 127.0.0.1:9"),
    ],
)
def test_what_can_not_be_asked_for(
    folder: Path, options: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "ray" in options:
        pytest.importorskip("ray")
    command = ["rollout", "--env", ENV_ID, "--env-kwarg", f'folder="{folder}"', "--model", "wm.pt"]
    assert main([*command, *options.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert os.listdir() == ["wm.pt"]
