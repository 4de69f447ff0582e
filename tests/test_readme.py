"""Every command and every Python block of every README is run, each README's in its own folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imagine_cli.cli import main
from imagine_cli.cli.tables import BLOCKS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in ("", "imagine_cli", "tests", "sample_models")
    for path in (ROOT / folder).glob("**/README.md" if folder else "README.md")
)
OF_LEARN = re.compile(r" run(/|$| -)")
NAMES = [str(path.parent.relative_to(ROOT)) for path in PAGES]


def blocks(page: Path, languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<!-- set-up -->\s+```sh.*?```", "", text, flags=re.S)
    return re.findall(rf"```(?:{languages})\n(.*?)```", text, flags=re.S)


def commands(page: Path) -> list[str]:
    """The lines of shell blocks, and in text those after a dollar sign, in their order."""
    found: list[str] = []
    for block in blocks(page, "sh|text"):
        lines = block.replace("\\\n", " ").splitlines()
        if block.startswith("$ "):
            found += (line[2:] for line in lines if line.startswith("$ "))
        else:
            found += (line for line in lines if line.strip() and not line.startswith("#"))
    return found


def shown(page: Path, command: str) -> list[str]:
    """What the page says that a command prints, after a line of dots where that is its end."""
    text = "".join(blocks(page, "text"))
    (after,) = re.findall(rf"^\$ {re.escape(command)}\n(.*?)(?=^\$|\Z)", text, re.M | re.S)
    return after.partition("...\n")[2].splitlines() or after.splitlines()


def assert_printed(printed: str, expected: list[str], rtol: float) -> None:
    """Its last lines are those: words are equal, numbers nearly, bars to one step of a height."""
    lines = printed.strip().splitlines()[-len(expected) :]
    for line, other in zip(lines, expected, strict=True):
        pairs = list(zip(line.split(), other.split(), strict=True))
        assert all(nearly(*pair, rtol) for pair in pairs), (line, other)


def nearly(word: str, other: str, rtol: float) -> bool:
    try:
        return float(word.strip("(),")) == pytest.approx(float(other.strip("(),")), rel=rtol)
    except ValueError:
        heights = [(BLOCKS.find(a), BLOCKS.find(b)) for a, b in zip(word, other, strict=True)]
        return word == other or all(min(h) >= 0 and abs(h[0] - h[1]) <= 1 for h in heights)


def prepared(folder: Path) -> None:
    (folder / "wm.pt").symlink_to(ROOT / "sample_models" / "pendulum-gp.pt")


def run(command: str, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    """Here, or by a shell where it takes one."""
    if command.startswith("imagine ") and not re.search("[|>]", re.sub("'.*?'", "", command)):
        status = main(shlex.split(command)[1:])
    else:
        status = in_a_shell(command, folder)
    said = capfd.readouterr()
    assert status == 0, f"{command}\n{said.out}\n{said.err}"
    assert "error" not in said.err.lower(), said.err


def in_a_shell(command: str, folder: Path) -> int:
    shims = folder / "bin"
    shims.mkdir(exist_ok=True)
    for name, line in {
        "imagine": f'exec "{sys.executable}" -m imagine_cli "$@"',
        "python": f'exec "{sys.executable}" "$@"',
    }.items():
        (shims / name).write_text(f"#!/bin/sh\n{line}\n")
        (shims / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, timeout=300, check=False
    ).returncode


def test_the_readme_has_what_these_tests_run() -> None:
    found = commands(ROOT / "README.md")
    assert len(found) >= 5
    assert len(blocks(ROOT / "README.md", "python")) >= 2
    assert "imagine rollout --env Pendulum-v1 --model wm.pt --steps 50" in found
    assert "imagine inspect rollout.h5" in found
    assert "imagine fit --env Pendulum-v1 --output wm.pt" in found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page}: {link}"


# The rooms' pages take a minute and more together.
@pytest.mark.parametrize(
    "page",
    [page if page.parent == ROOT else pytest.param(page, marks=pytest.mark.long) for page in PAGES],
    ids=NAMES,
)
def test_every_command_but_the_fits_and_every_python_block(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        later = page.parent == ROOT and OF_LEARN.search(command)
        if not command.startswith("imagine fit") and not later:
            run(command, capfd, tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, f"{page}, a Python block", "exec"), {"__name__": "__main__"})


def test_the_sample_output_is_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "README.md"
    monkeypatch.chdir(tmp_path)
    sample, rollout, inspect = commands(page)[:3]
    for command in (sample, rollout, inspect):
        capfd.readouterr()
        assert main(shlex.split(command)[1:]) == 0
    assert_printed(capfd.readouterr().out, shown(page, inspect), 1e-3)


FITS = [(page, line) for page in PAGES for line in commands(page) if line.startswith("imagine fit")]


@pytest.mark.long
@pytest.mark.parametrize(("page", "command"), FITS, ids=[line for _, line in FITS])
def test_the_fits(
    page: Path,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--data real.h5" in command:
        prepared(tmp_path)
        run(next(c for c in commands(page) if "--record real.h5" in c), capfd, tmp_path)
    run(command, capfd, tmp_path)
    output = command.split("--output ")[1].split()[0]
    assert (tmp_path / output).stat().st_size < 1_000_000


@pytest.mark.long
def test_from_nothing_to_a_policy_that_balances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "README.md"
    learn, play = (c for c in commands(page) if OF_LEARN.search(c))
    assert main(shlex.split(learn)[1:]) == 0
    printed = [line.split() for line in capfd.readouterr().out.splitlines()]
    expected = [line.split() for line in shown(page, learn)]
    for table in (printed, expected):
        del table[1][-1], table[2][-1]  # seconds
    assert_printed("\n".join(map(" ".join, printed)), [" ".join(line) for line in expected], 0.01)
    assert main(shlex.split(play)[1:]) == 0
    assert_printed(capfd.readouterr().out, shown(page, play), 0.0)
