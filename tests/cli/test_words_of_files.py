"""What a file says of itself can neither steer a terminal nor pass for the program's own words."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import h5py
import pytest

from imagine_cli import save_world_model
from imagine_cli.cli import main
from tests.helpers.rollout_files import numbers, write
from tests.helpers.worlds import small_gp

# Clears the screen, names the window, writes from right to left, and has a line of its own.
EVIL = "\x1b[2J\x1b]0;x\x07\u202eall\u2028gates passed\r\nimagine: all gates passed"
FACTS = ("policy", "propagation", "env_id", "created", "command", "model_path", "model_kind")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "real.h5"):
        write(Path(name), numbers(2, 4))
        with h5py.File(name, "r+") as file:
            for fact in FACTS[name == "real.h5" and 3 :]:
                file.attrs[fact] = f"{fact} {EVIL}"
            file.attrs["policy"] = EVIL
            file.attrs["real"] = name == "real.h5"
            file.attrs[f"note {EVIL}"] = EVIL
            file["observation/observation"][...] = [f"=1+1{EVIL}", "-x", EVIL]
            if name == "real.h5":
                file.attrs["env_id"] = "Pendulum-v1"
                file["observation/var"][...] = 0.0
    save_world_model(small_gp(3, 1, n=4), "wm.pt", metadata={f"key {EVIL}": EVIL})
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "inspect a.h5",
        "inspect a.h5 --json",
        "inspect a.h5 --csv",
        "inspect a.h5 --step 2",
        "inspect a.h5 --plot",
        "inspect wm.pt",
        "inspect wm.pt --json",
        "compare a.h5 real.h5",
        "rerun a.h5",
        "evaluate --model wm.pt --real a.h5",
        pytest.param("evaluate --model wm.pt --real real.h5 --dimensions", marks=pytest.mark.long),
        "fit --data a.h5 -o new.pt",
        "plot a.h5 -o a.gif",
    ],
)
def test_it_is_escaped_and_stays_in_its_line(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command.split())
    for said in capsys.readouterr():
        lines = said.split("\n")
        assert all(line.isprintable() for line in lines), repr(said)
        assert not any(line.lstrip().startswith("imagine: all gates") for line in lines)


def test_no_name_is_a_formula(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "a.h5", "--csv"]) == 0
    names = {row["dimension"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert {name[:2] for name in names} == {"'=", "'-", "\\x"}


def test_a_picture_is_well_formed(here: Path) -> None:
    assert main(["plot", "a.h5", "-o", "a.svg"]) == 0
    ElementTree.parse(here / "a.svg")
