"""Commands with damaged files, on a terminal and in a pipe: ``terminal.py [INPUTS] [SEED]``.

On a terminal a thread shows the progress while files are read, and the process is copied to try
them first. Each command is forked from this process; what it must not do is crash, hang, end with
another status than 0, 1 or 2, or show a traceback.
"""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from imagine_cli.cli import main as imagine
from imagine_cli.environments import describe, make_env
from tests.fuzz.harness import canary_file, corpus
from tests.fuzz.mutations import mutant
from tests.helpers.linear_systems import linear_model

SECONDS = 30
ROLLOUT = "rollout --env Pendulum-v1 --steps 3 --force"
COMMANDS = {
    ".h5": ("inspect {}", f"{ROLLOUT} --model wm.pt --policy {{}}", "compare {} {}",
            "evaluate --model wm.pt --real {}", "fit --data {} --kind linear --force",
            "export {} -o a.csv --force"),
    ".pt": ("inspect {}", f"{ROLLOUT} --model {{}}", f"{ROLLOUT} --model wm.pt --policy {{}}"),
    ".csv": (f"{ROLLOUT} --model wm.pt --policy {{}}", "fit --data {} --kind linear --force"),
}  # fmt: skip


def outcome(command: list[str], terminal: bool) -> str:
    """What became of it, run in a copy of this process."""
    theirs = -1
    if terminal:
        child, ours = pty.fork()
    else:
        ours, theirs = os.pipe()
        child = os.fork()
    if child == 0:
        if not terminal:
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115 (no longer a file)
        try:
            os._exit(imagine(command))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)
    if not terminal:
        os.close(theirs)
    said, end = b"", time.monotonic() + SECONDS
    while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how a terminal ends
            piece = b""
        if not piece:
            break
        said += piece
    else:
        os.kill(child, signal.SIGKILL)
        said = b"hang"
    os.close(ours)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    good = status in (0, 1, 2) and b"Traceback" not in said
    return f"status {status}" if good else f"{status}: {said[-300:]!r}"


def warm(folder: str, canary: str) -> None:
    """Import what the commands need, once."""
    for ending, name in ((".h5", "plain.h5"), (".pt", "linear.pt"), (".csv", "steps.csv")):
        path = Path(folder, f"good{ending}")
        path.write_bytes(corpus(ending, canary)[0][name])
        for command in COMMANDS[ending]:
            imagine(command.replace("{}", str(path)).split())


def main() -> int:
    count, first = (int(given) for given in (*sys.argv[1:], "2000", "0")[:2])
    torch.set_num_threads(1)
    found, bad = Counter[str](), []
    with tempfile.TemporaryDirectory() as folder, canary_file() as canary:
        os.chdir(folder)
        from imagine_cli import save_world_model

        save_world_model(linear_model(3, 1), "wm.pt", env=describe(make_env("Pendulum-v1")))
        warm(folder, canary)
        for seed in range(first, first + count):
            rng = random.Random(seed)
            ending = rng.choice(list(COMMANDS))
            files, sealed = corpus(ending, canary)
            name = rng.choice(sorted(files))
            path = Path(f"mutant{ending}")
            path.write_bytes(mutant(seed, name, files, sealed.get(name, []), canary))
            command, terminal = rng.choice(COMMANDS[ending]), rng.random() < 0.5
            what = outcome(command.replace("{}", str(path)).split(), terminal)
            found[what if what.startswith("status") else "bad"] += 1
            if not what.startswith("status"):
                bad.append(f"{seed} {name} {command} {terminal}: {what}")
        os.chdir("/")
    print(dict(found))
    print("\n".join(bad))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
