"""What holds for every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import imagine_cli
from imagine_cli.cli import main
from imagine_cli.cli.app import app

README = (Path(__file__).parents[2] / "README.md").read_text()
ROOT: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = ROOT.commands


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"imagine {imagine_cli.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"imagine {name}" in README
    for parameter in COMMANDS[name].params:
        if parameter.name == "help":
            continue
        assert parameter.help, f"{name} {parameter.opts} has no help"
    assert main([name, "--help"]) == 0
    assert f"imagine {name} " in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'h5py', 'gymnasium', 'tensordict', 'torchrl', 'rich.progress'}"
    script = (
        "import sys; from imagine_cli.cli import main; assert main(['rollout', '--help']) == 0; "
        f"sys.exit(sorted({heavy} & set(sys.modules)))"
    )
    done = run("-c", script)
    assert done.returncode == 0 or done.stderr.strip() == "[]", done.stderr


def test_the_package_imports_without_torch() -> None:
    done = run("-c", "import sys, imagine_cli; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0


def test_every_public_name_is_there() -> None:
    for name in imagine_cli.__all__:
        assert getattr(imagine_cli, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        imagine_cli.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rolout"], "No such command 'rolout'"),
        (["rollout"], "Missing option '--model'"),
        (["rollout", "--no-such"], "No such option"),
        (["inspect"], "Missing argument"),
    ],
)
def test_usage_errors(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("imagine: error: ")
    assert sentence in err
    assert "--help" in err
    assert err.count("\n") == 1


def test_completion_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imagine_cli", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_IMAGINE_COMPLETE" in done.stdout + done.stderr
