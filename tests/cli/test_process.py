"""The process that a command is: its descriptors, its signals, its letters, its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagine_cli import save_world_model
from imagine_cli.cli import app, main
from imagine_cli.cli.stopping import terminates
from imagine_cli.plots.picture import own_style
from tests.helpers.rollout_files import numbers, write
from tests.helpers.worlds import small_gp

HELD = """
import os, sys
from imagine_cli.cli import main
status = main(["--version"])
with open(sys.argv[1], "w") as file:
    file.write(f"{status} {file.fileno()}")
"""


def test_closed_descriptors_are_filled(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -c "$0" {tmp_path / "said"} 0<&- 2>&-'
    subprocess.run(["bash", "-c", command, HELD], check=True, capture_output=True)
    status, descriptor = (tmp_path / "said").read_text().split()
    assert status == "0"
    assert int(descriptor) > 2


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with terminates():
            assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_an_interrupt_while_modules_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "main", interrupted)
    assert main(["--version"]) == 130


@pytest.mark.long
def test_ascii_and_no_docstrings_are_no_failure(tmp_path: Path) -> None:
    write(tmp_path / "ü.h5", numbers(1, 2))
    for options, variables in (((), {"PYTHONIOENCODING": "ascii"}), (("-OO",), {})):
        done = subprocess.run(
            [sys.executable, *options, "-m", "imagine_cli", "compare", "ü.h5", "ü.h5"],
            cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("fit --env Pendulum-v1 --steps 1000000000000000", "1000000000000000 steps of Pendulum-v1"),
        (
            "rollout --env Pendulum-v1 --model wm.pt --steps 1 --propagation particles "
            "--particles 1000000000000",
            "1000000000000 particles take 320,000 GB",
        ),
    ],
)
def test_what_no_memory_holds_is_refused_before_the_work(
    arguments: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_world_model(small_gp(3, 1, n=4), "wm.pt")
    assert main([*arguments.split(), "-q", "-o", "new"]) == 2
    assert sentence in capsys.readouterr().err
    assert os.listdir() == ["wm.pt"]


def test_memory_that_ends_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(**_: object) -> int:
        raise MemoryError("Unable to allocate 21.8 TiB")

    monkeypatch.setattr(app, "app", full)
    assert main(["bench"]) == 2
    assert "not enough memory (Unable to allocate 21.8 TiB); take fewer" in capsys.readouterr().err


def test_settings_of_the_current_folder_draw_nothing() -> None:
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True}):
        with own_style():
            assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["text.usetex"]
