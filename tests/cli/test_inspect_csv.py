from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from imagine_cli.cli import main
from imagine_cli.recording import reader
from tests.helpers.inspect_files import NAMES, linear_gaussian, save

Lines = list[tuple[int, int, str, float, float]]


def lines(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> Lines:
    capsys.readouterr()
    assert main(["inspect", str(path), "--csv", *options]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["trajectory", "step", "dimension", "mean", "sd"]
    return [(int(b), int(t), name, float(m), float(s)) for b, t, name, m, s in rows[1:]]


@pytest.mark.parametrize("slab", [1, 500, 10**9])
def test_every_belief_in_order_with_every_digit(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    slab: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "_SLAB_BYTES", slab)
    numbers = linear_gaussian(3, 90)
    path = save(tmp_path / "r.h5", numbers)
    sd = np.sqrt(np.diagonal(numbers.var, axis1=-2, axis2=-1))
    expected = [
        (b, t, name, numbers.mean[b, t, d], sd[b, t, d])
        for b in range(3)
        for t in range(91)
        for d, name in enumerate(NAMES)
    ]
    assert lines(capsys, path) == expected
    assert lines(capsys, path, "--trajectory", "1") == [row for row in expected if row[0] == 1]
    assert lines(capsys, path, "--step", "90") == [row for row in expected if row[1] == 90]
    only = lines(capsys, path, "--step", "3", "--trajectory", "2")
    assert only == [row for row in expected if row[:2] == (2, 3)]


def test_names_with_commas_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(1, 2), observation_names=["a,b", 'c"d'])
    assert {row[2] for row in lines(capsys, path)} == {"a,b", 'c"d'}


def test_what_is_not_finite_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = linear_gaussian(1, 2)
    numbers.mean[0, 1] = [np.nan, -np.inf]
    numbers.var[0, 1] = [[-1.0, 0.0], [0.0, np.inf]]
    path = save(tmp_path / "r.h5", numbers)
    assert main(["inspect", str(path), "--csv", "--step", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "0,1,angle,nan,nan",
        "0,1,angle_dot,-inf,inf",
    ]
