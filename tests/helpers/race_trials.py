"""Commands that race for one target, or get a signal at a random moment, and what is there then.

Called as ``python race_trials.py writers|signals TRIALS SEED`` in an empty folder. It forks the
commands from itself, so that none takes the seconds that torch needs to load, and prints one line
of JSON: what was found how often, or a traceback.
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
from pathlib import Path

import torch

from imagine_cli import save_world_model
from imagine_cli.cli import evaluate, learn, main, rollout
from imagine_cli.recording import schema
from tests.helpers.kill_trials import OLD, Noon, ends, start
from tests.helpers.linear_systems import linear_model

IMAGINE = "rollout --env Pendulum-v1 --model wm.pt --steps 30"
ACTING = "--env Pendulum-v1 --reward env --horizon 5 --iterations 2"
COMMANDS = {
    "rollout": f"{IMAGINE} --seed {{}} -o",
    "fit": "fit --env Pendulum-v1 --kind linear --steps 300 --seed {} -o",
    "evaluate": "evaluate --env Pendulum-v1 --model wm.pt --steps 10 -n 5 --seed {} --record",
    "export": "export source{}.h5 -o",
    "plot": "plot source{}.h5 -o",
    "convert": "convert exported{}.pt -o",
    "calibrate": "calibrate --model wm.pt --data real.h5 --seed {} -o",
    "optimize": f"optimize {ACTING} --model wm.pt --policy linear --seed {{}} -o",
    "merge": "merge",  # the folder of "target"
    "learn": f"learn {ACTING} --random-steps 50 --trial-steps 20 --rounds 1 --seed {{}} -o",
}
ENDINGS = {"rollout": "h5", "evaluate": "h5", "export": "csv", "plot": "png", "merge": "h5",
           "learn": "run"}  # fmt: skip


def target_of(command: str, folder: Path) -> Path:
    """Where it writes to, which files say; what it takes from there is there."""
    target = folder / f"target.{ENDINGS.get(command, 'pt')}"
    partial = Path(f"{target}.partial")
    if command == "merge" and not partial.exists():
        shutil.copytree(folder / "parts", partial)
    return target


def arguments(command: str, seed: int, target: Path) -> list[str]:
    given = COMMANDS[command].format(seed).split()
    return [*given, f"{target}.partial" if command == "merge" else str(target)]


def content(target: Path) -> bytes:
    """All of a file or folder, but for the times and commands that they say."""
    if target.is_dir():
        files = sorted(file for file in target.rglob("*") if file.suffix in (".h5", ".pt"))
        return b"".join(map(content, files))
    if target.suffix != ".pt":
        return target.read_bytes()
    state = torch.load(target, weights_only=True)["state_dict"]
    return b"".join(tensor.numpy().tobytes() for _, tensor in sorted(state.items()))


def remove(target: Path) -> None:
    shutil.rmtree(target) if target.is_dir() else target.unlink()


def whole(command: str, seed: int, folder: Path) -> bytes:
    """What one command alone writes."""
    target = target_of(command, folder)
    assert ends(start(arguments(command, seed, target))) == 0, command
    found = content(target)
    remove(target)
    return found


def two_writers(command: str, count: int, rng: random.Random, folder: Path) -> Counter[str]:
    """Without --force one of them wins; with it the last one does. The file is always one's."""
    kept = {path.name for path in folder.iterdir()}
    expected, found = [whole(command, k, folder) for k in (0, 1)], Counter[str]()
    for _ in range(count):
        target = target_of(command, folder)
        force = command != "learn" and rng.random() < 0.5
        if force:
            target.write_bytes(OLD)
        children = []
        for k in (0, 1):
            given = [*arguments(command, k, target), *["--force"] * force]
            children.append(start(given, said=folder / f"said{k}"))
            time.sleep(rng.uniform(0, 0.02))
        statuses = sorted(ends(child) for child in children)
        # Without --force the other is told, before its work or after it. With it a rollout is told
        # too, as its shards have one owner.
        allowed = ([0, 0], [0, 2]) if force else ([0, 1], [0, 2])
        words = [(folder / f"said{k}").read_text() for k in (0, 1)]
        assert statuses in allowed, (command, force, statuses, words)
        assert content(target) in expected, f"{command}: the file is neither's"
        remove(target)
        found[f"{command} {statuses}{' --force' * force}"] += 1
    left = {path.name for path in folder.iterdir()} - {*kept, "said0", "said1"}
    assert not left, left
    return found


def signals(count: int, rng: random.Random, folder: Path) -> Counter[str]:
    """SIGINT or SIGTERM at a random moment, with some of the descriptors 0 and 2 closed."""
    found, said = Counter[str](), folder / "said"
    kept = {path.name for path in folder.iterdir()}
    alone = {command: whole(command, 0, folder) for command in COMMANDS}
    seconds = {}
    for command in COMMANDS:
        begun = time.monotonic()
        whole(command, 0, folder)
        seconds[command] = time.monotonic() - begun
    for _ in range(count):
        command = rng.choice(list(COMMANDS))
        target = target_of(command, folder)
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        closed = tuple(rng.sample([0, 2], rng.randrange(3)))
        child = start(arguments(command, 0, target), closed, said)
        time.sleep(rng.uniform(0.01, 1.05 * seconds[command]))
        os.kill(child, number)
        status = ends(child)
        # Before Python's handler is there, and after it has gone, the signal itself is the end.
        words = said.read_text()
        assert status in (0, 128 + number, -number), (command, number, closed, status, words)
        assert "Traceback" not in words, words
        again = arguments(command, 0, target)
        partial = target.with_name(f"{target.name}.partial")
        if partial.exists() or target.is_dir():
            assert command in ("rollout", "merge", "learn"), f"{command}: {partial} is left"
            again += ["--resume"] * (command != "merge")
            assert ends(start(again)) == 0
            found["resumed"] += 1
        else:
            assert target.exists() or status != 0
        if target.exists():
            assert content(target) == alone[command], f"{command}: the file differs"
            remove(target)
        found[f"status {status}"] += 1
    said.unlink()
    left = {path.name for path in folder.iterdir()} - kept
    assert not left, left
    return found


def trials(what: str, count: int, seed: int) -> Counter[str]:
    rng, folder = random.Random(seed), Path.cwd()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    schema.datetime = Noon  # type: ignore[misc] (one time for all, so that bytes can be compared)
    for command in (rollout, evaluate, learn):
        command.command_line = lambda: "imagine"
    save_world_model(linear_model(3, 1, reward=False), "wm.pt")
    for k in (0, 1):
        assert main([*IMAGINE.split(), "--seed", str(k), "-o", f"source{k}.h5", "-q"]) == 0
        exported = linear_model(3, 1, reward=False, seed=k)
        save_world_model(exported, f"exported{k}.pt")
    recorded = [*COMMANDS["evaluate"].format(9).split(), "real.h5"]
    assert main(recorded) == 0
    assert main([*IMAGINE.split(), "--shard", "1/1", "-o", "parts.h5", "-q"]) == 0
    Path("parts.h5.partial").rename("parts")
    for command in COMMANDS:  # once here, so that each forked process has every module
        warm = target_of(command, folder)
        assert main(arguments(command, 0, warm)) == 0, command
        remove(warm)
    if what == "signals":
        return signals(count, rng, folder)
    found = Counter[str]()
    for command in COMMANDS:
        found += two_writers(command, count, rng, folder)
    return found


if __name__ == "__main__":
    print(json.dumps(trials(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
