"""Runs ``imagine rollout`` or ``fit`` in processes that are killed at random moments, and looks.

Called as ``python kill_trials.py rollout|fit TRIALS SEED`` in an empty folder with ``wm.pt``. It
forks the processes to kill from itself, so that none takes the seconds that torch needs to load,
and prints one line of JSON: how many were killed and what was found, or a traceback.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from imagine_cli import load_world_model
from imagine_cli.cli import main, rollout
from imagine_cli.inspection.statistics import compute
from imagine_cli.recording import open_rollout, schema

ROLLOUT = ["rollout", "--env", "Pendulum-v1", "--model", "wm.pt", "-q", "--force"]
FIT = ["fit", "--env", "Pendulum-v1", "--kind", "linear", "--steps", "400", "-q", "--force"]
WAYS = [
    ["--steps", "9000"],
    ["--steps", "300", "-n", "150"],
    ["--steps", "150", "-n", "70", "--propagation", "particles", "--particles", "9"],
]
OLD = b"what was there before"


class Noon(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Noon:
        return cls(2026, 1, 1, 12, tzinfo=tz)


def start(arguments: list[str], closed: tuple[int, ...] = (), said: Path | None = None) -> int:
    """The process that runs them, with descriptors closed, and stderr going to a file if given."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if said is not None:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        for place in closed:
            os.close(place)
        try:
            os._exit(main(arguments))
        finally:
            os._exit(1)
    return child


def ends(child: int, after: float | None = None) -> int:
    """Its status once it ended, killed after so many seconds."""
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def look_at_rollout(target: Path, partial: Path, had: bool, whole: bytes) -> str:
    if target.exists() and target.read_bytes() != OLD:
        assert target.read_bytes() == whole, "under the target's name is something else"
        return "complete"
    assert target.exists() == had, "what was under the target's name is gone"
    if not (partial / "manifest.json").exists():
        return "nothing"
    with open_rollout(partial) as rollout:
        assert rollout.complete is False
        compute(rollout)
    return "partial"


def try_rollout(rng: random.Random, folder: Path, found: Counter[str], way: list[str]) -> None:
    target, partial = folder / "r.h5", folder / "r.h5.partial"
    begun = time.monotonic()
    assert ends(start([*ROLLOUT, *way, "-o", str(target)])) == 0
    seconds = time.monotonic() - begun
    whole = target.read_bytes()
    target.unlink()
    had = rng.random() < 0.5
    if had:
        target.write_bytes(OLD)
    resume: list[str] = []
    for _ in range(3):
        child = start([*ROLLOUT, *way, "-o", str(target), *resume])
        status = ends(child, rng.uniform(0, 1.05 * seconds))
        found["killed" if status == -signal.SIGKILL else "too late to kill"] += 1
        state = look_at_rollout(target, partial, had, whole)
        found[state] += 1
        if state == "complete":
            break
        resume = ["--resume"]
    else:
        assert ends(start([*ROLLOUT, *way, "-o", str(target), "--resume"])) == 0
        assert target.read_bytes() == whole, "a resumed file differs"
        found["resumed to the same bytes"] += 1
    target.unlink()
    shutil.rmtree(partial, ignore_errors=True)  # of one that was killed as it cleared away
    assert {path.name for path in folder.iterdir()} <= {"wm.pt"}, list(folder.iterdir())


def try_fit(rng: random.Random, folder: Path, found: Counter[str], seconds: float) -> None:
    target = folder / "fit.pt"
    had = rng.random() < 0.5
    target.unlink(missing_ok=True)
    if had:
        target.write_bytes(OLD)
    status = ends(start([*FIT, "-o", str(target)]), rng.uniform(0, 1.05 * seconds))
    found["killed" if status == -signal.SIGKILL else "too late to kill"] += 1
    if target.exists() and target.read_bytes() != OLD:
        load_world_model(target)
        found["complete"] += 1
    else:
        assert target.exists() == had, "what was under the target's name is gone"
        found["old" if had else "nothing"] += 1


def trials(what: str, count: int, seed: int) -> Counter[str]:
    rng, folder, found = random.Random(seed), Path.cwd(), Counter[str]()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    schema.datetime = Noon  # type: ignore[misc] (one time for all, so that bytes can be compared)
    rollout.command_line = lambda: "imagine rollout"  # resumed or not
    # Once here, so that each forked process has every module.
    assert main([*ROLLOUT, "--steps", "2", "-o", "warm.h5"]) == 0
    assert main([*FIT, "-o", "warm.pt"]) == 0
    for name in ("warm.h5", "warm.pt"):
        Path(name).unlink()
    begun = time.monotonic()
    if what == "fit":
        assert ends(start([*FIT, "-o", "fit.pt"])) == 0
    seconds = time.monotonic() - begun
    while found["killed"] < count:
        if what == "rollout":
            try_rollout(rng, folder, found, WAYS[found["killed"] % len(WAYS)])
        else:
            try_fit(rng, folder, found, seconds)
    return found


if __name__ == "__main__":
    what, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(trials(what, count, seed)))
