"""Every command and every Python block of the README is run, in its order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    text = re.sub(r"<!-- set-up -->\s+```sh.*?```", "", README, flags=re.S)
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run(command: list[str] | str, folder: Path) -> None:
    shims = folder / "bin"
    shims.mkdir(exist_ok=True)
    for name, line in {
        "imagine": f'exec "{sys.executable}" -m imagine_cli "$@"',
        "python": f'exec "{sys.executable}" "$@"',
    }.items():
        (shims / name).write_text(f"#!/bin/sh\n{line}\n")
        (shims / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command] if isinstance(command, str) else command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "error" not in done.stderr.lower(), done.stderr


def test_the_readme_has_what_these_tests_run() -> None:
    assert len(commands()) >= 8
    assert len(blocks("python")) >= 2
    assert "imagine rollout --env Pendulum-v1 --model wm.pt --steps 50" in commands()
    assert "imagine fit --env Pendulum-v1 --output wm.pt" in commands()


def test_every_command_but_the_fits_and_every_python_block(tmp_path: Path) -> None:
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    (tmp_path / "wm.pt").symlink_to(ROOT / "sample_models" / "pendulum-gp.pt")
    for command in commands():
        if not command.startswith("imagine fit"):
            run(command, tmp_path)
    for block in blocks("python"):
        run([sys.executable, "-c", block], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("imagine fit")])
def test_the_fits(tmp_path: Path, command: str) -> None:
    if "--data real.h5" in command:
        (tmp_path / "wm.pt").symlink_to(ROOT / "sample_models" / "pendulum-gp.pt")
        run(next(c for c in commands() if "--record real.h5" in c), tmp_path)
    run(command, tmp_path)
    output = command.split("--output ")[1].split()[0]
    assert (tmp_path / output).stat().st_size < 1_000_000
