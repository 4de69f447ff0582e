"""``imagine rollout --watch``: the chart grows, and costs the rollout little."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from imagine_cli import save_world_model
from imagine_cli.belief import Belief
from imagine_cli.cli import main
from imagine_cli.cli.fan_panel import FanPanel
from imagine_cli.environments import describe, make_env
from tests.helpers.worlds import small_gp


def a_panel(steps: int, width: int = 80, height: int = 40) -> tuple[FanPanel, Console]:
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )
    panel = FanPanel(console, steps)
    panel.env_id = "Pendulum-v1"
    return panel, console


def shown(panel: FanPanel, console: Console) -> str:
    with console.capture() as captured:
        console.print(panel())
    return captured.get()


def beliefs(values: list[float], size: int = 3) -> list[Belief]:
    return [
        Belief(torch.full((2, size), value), 0.01 * torch.eye(size).expand(2, size, size))
        for value in values
    ]


def furthest(text: str) -> int:
    """The last column of the first chart that the mean's line is in, the legend left out."""
    rows = [re.sub(r"\S\S mean", "       ", line) for line in text.splitlines()[2:14]]
    marked = [k for row in rows for k, letter in enumerate(row) if "\u2800" < letter <= "\u28ff"]
    return max(marked)


def test_the_fan_grows_to_the_right_within_axes_that_stay() -> None:
    panel, console = a_panel(40)
    assert panel() is None
    reached = []
    for k, belief in enumerate(beliefs([float(np.sin(k / 6)) for k in range(40)])):
        panel.see(2, belief)
        if k in (4, 14, 24, 39):
            panel.draw()
            text = shown(panel, console)
            reached.append(furthest(text))
            assert f"trajectory 0, step {k + 1} of 40" in text
            assert re.search(r"^\s+0 +10 +20 +30 +40 *$", text, re.M)
            for name in ("cos(theta)", "sin(theta)", "theta_dot [rad/s]"):
                assert name in text
    assert reached == sorted(set(reached))
    assert reached[0] < 25
    assert reached[-1] > 70


def test_the_mean_is_at_its_height() -> None:
    panel, console = a_panel(10)
    for belief in beliefs([0.0] * 5 + [1.0] * 5):
        panel.see(2, belief)
    panel.draw()
    rows = [re.sub(r"\S\S mean", "", line) for line in shown(panel, console).splitlines()[2:14]]
    marked = [k for k, row in enumerate(rows) if re.search("[\u2801-\u28ff]", row)]
    labels = {
        k: float(m[1]) for k, row in enumerate(rows) if (m := re.match(r" *(-?[\d.]+)┤", row))
    }
    assert len(labels) >= 3
    slope, base = np.polyfit(list(labels), list(labels.values()), 1)
    assert slope * marked[0] + base == pytest.approx(1.0, abs=1.2 * abs(slope))
    assert slope * marked[-1] + base == pytest.approx(0.0, abs=1.2 * abs(slope))


def test_the_next_trajectories_begin_anew() -> None:
    panel, console = a_panel(3)
    for belief in beliefs([0.0, 1.0, 2.0, 5.0]):
        panel.see(2, belief)
    panel.draw()
    assert "trajectory 2, step 1 of 3" in shown(panel, console)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (130, 45), (60, 14), (200, 60)])
def test_it_fits_the_window_and_says_what_does_not(width: int, height: int) -> None:
    panel, console = a_panel(5, width, height)
    for belief in beliefs([0.0, 0.5, 1.0], size=17):
        panel.see(2, belief)
    panel.draw()
    lines = shown(panel, console).splitlines()
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line.strip()]) <= max(height - 3, 10)
    assert " of 17 dimensions" in lines[0]


def test_many_steps_take_little_memory_and_little_time() -> None:
    panel, _ = a_panel(200_000)
    panel._next = float("inf")
    (belief,) = beliefs([0.5])
    begun = time.perf_counter()
    for _ in range(20_000):
        panel.see(2, belief)
    each = (time.perf_counter() - begun) / 20_000
    assert len(panel._points) <= 513
    assert panel._points[-1][0] > 19_000
    assert each < 1e-4  # a step of an engine takes about as long; measured 1 microsecond


def test_drawing_takes_at_most_a_twentieth_of_the_time(monkeypatch: Any) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    panel, _ = a_panel(10_000)
    drawn: list[float] = []

    def slow() -> Any:
        nonlocal now
        drawn.append(now)
        now += 0.1
        return None

    monkeypatch.setattr(panel, "_chart", slow)
    (belief,) = beliefs([0.5])
    for _ in range(10_000):
        now += 0.001
        panel.see(2, belief)
    assert 4 <= len(drawn) <= 6  # 10 s of steps, each picture of 0.1 s after 2 s of them


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_world_model(small_gp(3, 1), "wm.pt", env=describe(make_env("Pendulum-v1")))
    return tmp_path


ROLLOUT = ["rollout", "--env", "Pendulum-v1", "--model", "wm.pt", "--watch"]


def test_on_a_terminal_the_chart_is_renewed_and_stays(here: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "--steps", "3000"],
        cwd=here,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", "PYTHONUTF8": "1"},
    )
    os.close(follower)
    screen = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        if not block:
            break
        screen += block
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())
    steps = [int(step) for step in re.findall(r"trajectory 0, step (\d+) of 3000", text)]
    assert len(set(steps)) >= 2
    assert steps == sorted(steps)
    assert steps[-1] == 3000
    last = text[text.rindex("trajectory 0, step 3000") :]
    for word in ("cos(theta)", "theta_dot [rad/s]", "mean", "imagining", "3000/3000", "rollout.h5"):
        assert word in last


def test_without_a_terminal_it_does_nothing(here: Path, capsys: Any) -> None:
    assert main([*ROLLOUT, "--steps", "3"]) == 0
    out, err = capsys.readouterr()
    assert out == "rollout.h5\n"
    assert "┤" not in err
    assert "imagining: 3 of 3" in err


def test_watching_changes_no_number(here: Path) -> None:
    from imagine_cli import open_rollout

    for name, words in (("a.h5", ROLLOUT), ("b.h5", ROLLOUT[:-1])):
        assert main([*words, "--steps", "5", "-q", "-o", name]) == 0
    with open_rollout("a.h5") as a, open_rollout("b.h5") as b:
        assert (a.mean() == b.mean()).all()
        assert (a.var() == b.var()).all()
