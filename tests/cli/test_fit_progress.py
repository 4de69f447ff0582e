"""Progress on stderr: plain without a terminal, animated on one, nothing where quiet."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from imagine_cli.cli.progress import _rate, progress

_SHOW = """
from imagine_cli.cli.progress import progress
with progress(quiet=False) as display:
    display.stage("collecting", 3)
    for k in range(3):
        display.advance(note=f"part {k}")
    display.stage("thinking")
    display.advance(5)
    display.finish()
print("the answer")
"""


def test_without_a_terminal_a_line_when_a_stage_begins_and_one_when_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress(quiet=False) as display:
        display.stage("collecting", 3)
        display.advance(2, note="halfway")
        display.advance()
        display.stage("thinking")
        display.advance(5)
        display.finish()
    out, err = capsys.readouterr()
    assert out == ""
    lines = [re.sub(r"\d+\.\d s", "0.0 s", line) for line in err.splitlines()]
    assert lines == [
        "collecting: 0 of 3",
        "collecting: 3 of 3 in 0.0 s (halfway)",
        "thinking",
        "thinking: done in 0.0 s",
    ]


def test_a_stage_of_over_a_minute_says_so_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("imagine_cli.cli.progress.time.monotonic", lambda: now[0])
    with progress(quiet=False) as display:
        display.stage("imagining", 100)
        for _ in range(100):
            now[0] += 1.5
            display.advance()
        display.stage("drawing", 20)
        for _ in range(20):
            now[0] += 3.0
            display.advance()
        display.finish()
    assert capsys.readouterr().err.splitlines() == [
        "imagining: 0 of 100",
        "imagining: 2 of 100, 2.5 minutes left",
        "imagining: 100 of 100 in 150.0 s",
        "drawing: 0 of 20",
        "drawing: 20 of 20 in 60.0 s",
    ]


def test_a_stage_that_an_error_ended_does_not_say_that_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyError), progress() as display:
        display.stage("collecting", 3)
        display.advance()
        raise KeyError
    assert capsys.readouterr().err == "collecting: 0 of 3\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as display:
        display.stage("collecting", 3)
        display.advance(3, note="done")
        display.finish()
    assert capsys.readouterr() == ("", "")


def _on_a_terminal(term: str, **environment: str) -> str:
    """What a terminal of 120 columns is sent on stderr."""
    pty = pytest.importorskip("pty")
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _SHOW],
        stdout=subprocess.PIPE,
        stderr=side,
        env={**os.environ, "TERM": term, "COLUMNS": "120", **environment},
    )
    os.close(side)
    sent = b""
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:  # Linux says so that the other side is closed
            break
        if not piece:
            break
        sent += piece
    os.close(main)
    assert process.communicate()[0] == b"the answer\n"
    assert process.returncode == 0
    return sent.decode()


def test_on_a_terminal_there_are_bars_with_counts_and_notes() -> None:
    sent = _on_a_terminal("xterm-256color")
    assert "\x1b[?25l" in sent, "the cursor is hidden while the bars move"
    assert sent.rstrip().endswith("\x1b[?25h"), "and comes back"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    assert re.search(r"collecting .*3/3 .*part 2", plain)
    assert re.search(r"thinking .*5/5", plain)


def test_no_color_is_respected() -> None:
    sent = _on_a_terminal("xterm-256color", NO_COLOR="1")
    colours = [code for code in re.findall(r"\x1b\[([0-9;]*)m", sent) if "3" in code.split(";")[0]]
    assert colours == []


def test_a_dumb_terminal_gets_plain_lines() -> None:
    sent = _on_a_terminal("dumb")
    assert "\x1b" not in sent
    assert sent.splitlines()[0] == "collecting: 0 of 3"


@pytest.mark.parametrize(
    ("speed", "shown"),
    [(None, ""), (12345.6, "12,346/s"), (10.0, "10/s"), (2.5, "2.5/s"), (0.1, "10.0 s each")],
)
def test_rates_are_short(speed: float | None, shown: str) -> None:
    assert _rate(speed) == shown
