"""What of imagine works with which env: ``python tests/benchmarks/envs.py [MODULE:PATTERN ...]``.

The newest version of every id that Gymnasium registers, and of one of each family of those that
modules such as ``gymnasium_robotics`` and ``shimmy`` do: a linear model is fitted to the random
policy's steps, imagined with, compared with real runs; the env is played in and drawn, and its own
reward asked for. Prints a table and what was said where something failed, each sentence once.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import multiprocessing
import os
import re
import sys
import tempfile
from collections import defaultdict

import gymnasium
import torch

import imagine_cli
from imagine_cli.cli import main as imagine
from imagine_cli.threads import cores

COLUMNS = ("fit", "rollout", "evaluate", "play", "reward env", "video")
DEFAULT = (":*", "gymnasium_robotics:*", "shimmy:dm_control/*")


def ids(patterns: list[str]) -> list[str]:
    """As ``--env`` takes them, the newest version of each; those of GPUs' envs left out."""
    found: dict[str, tuple[int, str]] = {}
    registered: dict[str, set[str]] = {}
    for given in patterns:
        module, _, pattern = given.rpartition(":")
        if module not in registered:
            before = {*gymnasium.registry} if module else set()
            __import__(module or "gymnasium")
            registered[module] = {*gymnasium.registry} - before
        for env_id in registered[module]:
            name, _, version = env_id.rpartition("-v")
            place = f"{module}:{name}" if module else name
            if fnmatch.fnmatch(env_id, pattern) and name.partition("/")[0] not in SKIPPED:
                found[place] = max(found.get(place, (-1, "")), (int(version), env_id))
    chosen, families = [], set()
    for place, (_, env_id) in sorted(found.items()):
        module, _, name = place.rpartition(":")
        kin = (
            module,
            re.sub(
                r"Dense$|Sparse$|Manipulate.*", "", re.split("[_-]", name.rpartition("/")[2])[0]
            ),
        )
        if not module or kin not in families:
            families.add(kin)
            chosen.append(f"{module}:{env_id}" if module else env_id)
    return chosen


# Written in JAX; GymV21Environment and others wrap what an argument names.
SKIPPED = ("phys2d", "tabular", "GymV21Environment", "GymV26Environment", "Imagined")


def trial(env_id: str) -> tuple[str, str, dict[str, str]]:
    """``env_id``, its sizes, and of each column "" or what was said."""
    torch.set_num_threads(1)
    said, sizes = dict[str, str](), ""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        env = ["--env", env_id]
        model = [*env, "--model", "wm.pt"]
        short = ["--steps", "5", "-q", "--force"]
        commands = {
            "fit": ["fit", *env, "--kind", "linear", "--steps", "3000", "--no-scores", "--json"],
            "rollout": ["rollout", *model, *short],
            "evaluate": ["evaluate", *model, "--steps", "5", "-n", "4", "-q"],
            "play": ["play", *env, "--policy", "random", "-n", "2", "--steps", "20", "-q"],
            "reward env": ["rollout", *model, *short, "--reward", "env"],
            "video": ["play", *env, "--policy", "random", "-n", "1", "--steps", "5", "-q",
                      "--video", "a.gif"],
        }  # fmt: skip
        for column, command in commands.items():
            if said.get("fit") and "wm.pt" in command:
                said[column] = said["fit"]
                continue
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = imagine(command)
            lines = err.getvalue().strip().splitlines()
            said[column] = "" if status == 0 else (lines or [f"status {status}"])[-1]
        if not said["fit"]:
            found = imagine_cli.load_world_model("wm.pt")
            sizes = f"{found.observation_size} / {found.action_size}"
    return env_id, sizes, said


def rows(trials: list[tuple[str, str, dict[str, str]]]) -> tuple[list[str], list[str]]:
    """Of the table, and of what was said."""
    table, reasons = [], defaultdict(list)
    for env_id, sizes, said in trials:
        cells = [f"`{env_id}`", sizes, *("no" if said[column] else "yes" for column in COLUMNS)]
        table.append(f"| {' | '.join(cells)} |")
        for column, sentence in said.items():
            if sentence:
                short = env_id.rpartition(":")[2]
                plain = re.sub(r"-?\d+(\.\d+)?", "N", sentence.replace(short, "..."))
                reasons[plain].append(f"{short} {column}: {sentence}")
    lines = [f"- {len({*those})} ids: {those[0]}" for those in reasons.values()]
    return table, lines


def main() -> None:
    os.environ.setdefault("MUJOCO_GL", "egl")
    chosen = ids(sys.argv[1:] or [*DEFAULT])
    with multiprocessing.get_context("spawn").Pool(cores(), maxtasksperchild=1) as pool:
        trials = []
        for number, found in enumerate(pool.imap(trial, chosen), 1):
            print(f"{number} of {len(chosen)}: {found[0]}", file=sys.stderr, flush=True)
            trials.append(found)
    table, reasons = rows(trials)
    print(f"| env | D / F | {' | '.join(COLUMNS)} |\n|{'---|' * (2 + len(COLUMNS))}")
    print("\n".join([*table, "", *reasons]))


if __name__ == "__main__":
    main()
