"""What holds for every command."""

from __future__ import annotations

import os
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
        # Where CI has no shell among the parents of the process, Typer can't see which it is.
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        check=False,
    )
    assert "_IMAGINE_COMPLETE" in done.stdout + done.stderr


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize(
    "words",
    [["fit", "--env", "Pendulum-v1"], ["rollout", "--model", __file__], ["plot", __file__]],
    ids=lambda words: words[0],
)
def test_an_output_that_is_a_stream_is_refused_with_the_reason(
    words: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-o", output, "--force"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"the output {output} can't be a stream: a file appears under its name when" in err


@pytest.mark.parametrize(
    "words",
    ["rollout --model no.pt", "evaluate --model no.pt", "optimize --model no.pt",
     "play --policy zero --model no.pt", "calibrate --model no.pt --data no.h5",
     "convert no.pt -o out.pt", "export no.pt", "inspect no.pt", "fit --data no.pt"],
)  # fmt: skip
def test_a_missing_file_is_said_before_torch_is_imported(words: str, tmp_path: Path) -> None:
    code = "import sys; from imagine_cli.cli import main; status = main(sys.argv[1:]); "
    code += "print(status, 'torch' in sys.modules, 'gymnasium' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "2 False False\n"
    assert "there is no " in done.stderr
    assert len(done.stderr.splitlines()) == 1
