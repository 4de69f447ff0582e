"""Sizes that no machine holds: a sentence before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.search.initial_policy import check_policy

MODEL = str(Path(__file__).parents[1] / "sample_models" / "pendulum-gp.pt")
SEARCH = ["optimize", "--env", "Pendulum-v1", "--model", MODEL, "--reward",
          "saturating:target=1,0,0;width=0.5", "-o", "policy.pt"]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["play", "--env", "Pendulum-v1", "--policy", "random", "-n", "2000000000"], "real steps"),
        (["evaluate", "--env", "Pendulum-v1", "--model", MODEL, "-n", "2000000000"], "real steps"),
        ([*SEARCH, "--horizon", "10000000000"], "10000000000 imagined steps of 1 trajectories"),
        ([*SEARCH, "--policy", "rbf:100000000000"], "the parameters of 'rbf:100000000000'"),
        ([*SEARCH, "--policy", "mlp:100000000000"], "the parameters of 'mlp:100000000000'"),
        (["fit", "--env", "Pendulum-v1", "--kind", "ensemble", "--steps", "300", "--hidden",
          "1000000000", "-o", "wm.pt"], "networks of 3 layers of 1000000000 units"),
    ],
)  # fmt: skip
def test_what_no_memory_holds_is_refused(
    command: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert what in error
    assert "of memory; take fewer" in error
    assert list(tmp_path.iterdir()) == []


def test_usual_sizes_are_not() -> None:
    about = describe(make_env("Pendulum-v1"))
    for spec in ("rbf:5000", "mlp:1000,1000", "linear"):
        check_policy(spec, about)
    with pytest.raises(InputError, match="the parameters of"):
        check_policy("mlp:64,10000000,10000000", about)
