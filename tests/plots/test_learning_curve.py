"""The picture of a learning curve has the rounds of its table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagine_cli import InputError, plot_learning
from imagine_cli.cli import main

TABLE = "number,real_steps,real_return\n0,150,5.0\n1,200,40.0\n2,1200,1000.0\n"


def a_run(folder: Path, table: str = TABLE) -> Path:
    folder.mkdir()
    (folder / "learn.json").write_text(json.dumps({"env": "Pendulum-v1", "method": "pilco"}))
    (folder / "learning.csv").write_text(table)
    return folder


def test_it_has_the_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, picture = a_run(tmp_path / "run"), tmp_path / "curve.svg"
    assert main(["plot", str(run), "-o", str(picture)]) == 0
    assert capsys.readouterr().out.strip() == str(picture)
    svg = picture.read_text()
    for words in ("Pendulum-v1 by pilco", "real steps", "real return", "trial of each round"):
        assert words in svg
    # The line through all rounds, whose steps are 50 and 1,000 apart, and returns 35 and 960.
    number = r"([\d.]+)"
    point = rf"{number} {number} \n"
    (ends,) = re.findall(rf'd="M {point}L {point}L {point}" clip-path', svg)
    x0, y0, x1, y1, x2, y2 = map(float, ends)
    assert (x2 - x1) / (x1 - x0) == pytest.approx(20, rel=1e-3)
    assert (y2 - y1) / (y1 - y0) == pytest.approx(960 / 35, rel=1e-3)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("number,real_steps,real_return\n0,150,5.0\n", "has no round after the random one"),
        ("a,b\n1,2\n", "is not a table of imagine learn"),
        (TABLE.replace("40.0", "nan"), "or a return is not finite"),
    ],
)
def test_what_is_refused(tmp_path: Path, table: str, sentence: str) -> None:
    run = a_run(tmp_path / "run", table)
    with pytest.raises(InputError, match=sentence):
        plot_learning(run, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()
    assert main(["plot", str(run), "--horizon", "3", "-o", str(tmp_path / "c.png")]) == 2
