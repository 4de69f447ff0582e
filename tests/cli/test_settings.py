"""Options of a --config file and of IMAGINE_* variables, and ``imagine config``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from imagine_cli import open_rollout
from imagine_cli.cli import main
from imagine_cli.cli.settings import Commands

MODEL = Path(__file__).parents[2] / "sample_models" / "pendulum-linear.pt"

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Commands, "typed", ())
    file = tmp_path / "imagine.toml"
    file.write_text(
        f'seed = 3\nquiet = true\n[rollout]\nenv = "Pendulum-v1"\nmodel = {str(MODEL)!r}\n'
        'steps = 4\nenv-kwarg = ["g=9.81"]\n'
    )
    return file


def rollout(*arguments: str) -> tuple[int, int, str]:
    """Steps, seed and command of a rollout."""
    assert main([*arguments, "--force"]) == 0
    with open_rollout("rollout.h5") as found:
        seed, command = found.seed, found.command
    assert seed is not None
    assert command is not None
    return found.steps, seed, command


def test_typed_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--config", "imagine.toml", "rollout"]
    assert rollout(*asked)[:2] == (4, 3)
    monkeypatch.setenv("IMAGINE_STEPS", "5")
    assert rollout(*asked)[:2] == (5, 3)
    monkeypatch.setenv("IMAGINE_ROLLOUT_STEPS", "6")
    assert rollout(*asked)[:2] == (6, 3)
    assert rollout(*asked, "--steps=7", "--seed", "0")[:2] == (7, 0)
    monkeypatch.setenv("IMAGINE_CONFIG", "imagine.toml")
    assert rollout("rollout")[:2] == (6, 3)


def test_the_file_says_the_command_that_needs_no_settings() -> None:
    command = rollout("--config", "imagine.toml", "rollout", "--steps", "2")[2]
    assert "--steps 4" not in command
    with open_rollout("rollout.h5") as found:
        before = found.mean(0)
    assert rollout(*command.split()[1:])[:2] == (2, 3)
    with open_rollout("rollout.h5") as found:
        assert (found.mean(0) == before).all()
        assert found.env_kwargs == {"g": 9.81}


def test_what_is_set_and_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGINE_ROLLOUT_STEPS", "6")
    monkeypatch.setenv("IMAGINE_FORCE", "0")
    assert main(["--config", "imagine.toml", "config", "rollout", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]
    found = {row["option"]: (row["value"], row["from"]) for row in told}
    assert found["seed"] == (3, "imagine.toml")
    assert found["steps"] == ("6", "IMAGINE_ROLLOUT_STEPS")
    assert found["force"] == (False, "IMAGINE_FORCE")
    assert found["policy"] == ("random", "default")
    assert main(["--config", "imagine.toml", "config"]) == 0
    assert "default" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stps = 3", "no command has an option 'stps'"),
        ("[rollot]\nsteps = 3", "there is no command 'rollot'"),
        ("[rollout]\nstps = 3", "imagine rollout has no option 'stps'"),
        ("quiet = 1", "quiet is 1; it must be true or false"),
        ("[rollout]\nenv-kwarg = 'g=1'", "env-kwarg is 'g=1'; it must be a list"),
        ("seed = [1]", "seed is [1]; it must be a number or a string"),
        ("seed = ", "is no TOML"),
        ("seed = 'many'", "Invalid value for '--seed'"),
    ],
)
def test_bad_files(
    file: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert main(["--config", "imagine.toml", "rollout"]) == 2
    assert sentence in capsys.readouterr().err
    assert main(["--config", "none.toml", "rollout"]) == 2
    assert "none.toml can't be read: No such file" in capsys.readouterr().err


def test_a_bad_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGINE_FORCE", "maybe")
    assert main(["rollout"]) == 2
    assert "IMAGINE_FORCE is 'maybe'; it must be true or false" in capsys.readouterr().err
    assert main(["config", "rollot"]) == 2
