"""Tables of envs of many dimensions, and of long names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rich.console import Console

from imagine_cli.cli import main
from imagine_cli.cli.tables import chosen, duration, number_table


def test_of_many_dimensions_ten_are_shown_and_a_caption_says_so() -> None:
    assert chosen([1.0] * 30, "the least sure") == (list(range(30)), "")
    interest = [float(k % 50) for k in range(100)]
    interest[99] = math.nan
    shown, caption = chosen(interest, "the least sure")
    assert shown == [44, 45, 46, 47, 48, 49, 95, 96, 97, 98]
    assert caption == "10 of 100 dimensions, the least sure; --json has all"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_nothing_is_cut(width: int) -> None:
    console = Console(width=width, force_terminal=False)
    name = "desired_goal.position.of.the.hand[0]"
    with console.capture() as captured:
        console.print(number_table([name, "RMSE", "NLL"], [[name, "0.123", "-1234567.0"]]))
    letters = "".join(captured.get().split())
    assert "…" not in letters
    assert sorted(letters) == sorted(f"{name}RMSENLL{name}0.123-1234567.0")


def test_a_fit_of_a_large_env_prints_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "ant.pt")
    words = ["fit", "--env", "Ant-v5", "--kind", "linear", "--steps", "100", "-o", path]
    assert main(words) == 0
    assert "10 of 105 dimensions, those whose intervals" in capsys.readouterr().out
    assert main(["inspect", path]) == 0
    out = capsys.readouterr().out
    assert "x8, x9, and 95 more" in out
    assert len(out.splitlines()) < 80
    rollout = str(tmp_path / "ant.h5")
    assert main(["rollout", "--model", path, "--steps", "2", "-o", rollout]) == 0
    err = capsys.readouterr().err
    assert "10 of 105 dimensions, the least sure" in err
    assert len(err.splitlines()) < 20
    assert main(["inspect", rollout]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 60


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.21, "3.2 seconds"), (119.0, "119 seconds"), (150.0, "2.5 minutes"), (3e5, "3.5 days")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
