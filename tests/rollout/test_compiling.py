"""The remark that --compile would spare minutes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from imagine_cli import copy_sample, load_world_model
from imagine_cli.cli import main
from imagine_cli.errors import Remark
from imagine_cli.propagation import make_propagation
from imagine_cli.rollout import compiling
from imagine_cli.unroll import ModelDynamics

SAMPLES = Path(__file__).parents[2] / "sample_models"


def remarks(dynamics: ModelDynamics, steps: float) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compiling.remark_on_compiling(dynamics, steps)
    assert all(warning.category is Remark for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("name", "propagation", "steps", "many"),
    [
        # 6 pairs of dimensions, 300 x 300 points, 2 ns each: 56,000 steps a minute.
        ("pendulum-gp", "moments", 60_000, 1),
        ("pendulum-gp", "moments", 50_000, 0),
        ("pendulum-gp", "linearized", 1e9, 0),
        ("pendulum-linear", "moments", 1e9, 0),
    ],
)
def test_where_it_would_gain_much(name: str, propagation: str, steps: float, many: int) -> None:
    model = load_world_model(SAMPLES / f"{name}.pt")
    dynamics = ModelDynamics(model, make_propagation(propagation, model))
    assert len(remarks(dynamics, steps)) == many


def test_nothing_where_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_world_model(SAMPLES / "pendulum-gp.pt")
    dynamics = ModelDynamics(model, make_propagation("moments", model))
    monkeypatch.setattr(model, "compiled_step", lambda: lambda belief: belief)
    assert not remarks(dynamics, 1e9)


def test_one_line_but_not_where_it_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("numba")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiling, "_LONG", 0.0)
    copy_sample("pendulum-gp")
    command = ["rollout", "--model", "pendulum-gp.pt", "--steps", "2", "-n", "2", "--force"]
    said = "imagine: this takes over a minute; --compile (compiled=True) takes a half to a quarter"
    for further, times in ((), 1), (("-q",), 0):
        assert main([*command, *further]) == 0
        assert capsys.readouterr().err.count(said) == times
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert main(command) == 0
    assert "after pip install 'imagine-cli[compile]' takes" in capsys.readouterr().err
