"""The Typer app, and the one place where errors become sentences and exit statuses."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imagine_cli import __version__
from imagine_cli.cli import (
    bench,
    calibrate,
    compare,
    config,
    convert,
    doctor,
    evaluate,
    export,
    fit,
    inspect,
    learn,
    merge,
    optimize,
    play,
    plot,
    rerun,
    rollout,
    sample,
)
from imagine_cli.cli.console import error_line
from imagine_cli.cli.settings import Commands
from imagine_cli.cli.stopping import terminates
from imagine_cli.errors import ImagineError
from imagine_cli.recording.probe import probing
from imagine_cli.threads import wait_briefly

app = typer.Typer(
    name="imagine",
    cls=Commands,
    help="Imagine with a learned world model: what it believes will happen, and how sure it is.",
    no_args_is_help=False,
    rich_markup_mode=None,  # typer imports markdown and syntax highlighters for its boxes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("rollout")(rollout.rollout)
app.command("merge")(merge.merge)
app.command("rerun")(rerun.rerun)
app.command("inspect")(inspect.inspect)
app.command("fit")(fit.fit)
app.command("convert")(convert.convert)
app.command("calibrate")(calibrate.calibrate)
app.command("evaluate")(evaluate.evaluate)
app.command("optimize")(optimize.optimize)
app.command("learn")(learn.learn)
app.command("play")(play.play)
app.command("export")(export.export)
app.command("compare")(compare.compare)
app.command("plot")(plot.plot)
app.command("sample")(sample.sample)
app.command("bench")(bench.bench)
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)

# typer carries click inside since 0.26 and depends on it before: either way this is its base.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"imagine {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="IMAGINE_CONFIG",
            metavar="FILE.toml",
            help="Options that need not be typed, see imagine config.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``imagine`` with ``argv`` (the process's own by default); the exit status."""
    wait_briefly()
    _fill_descriptors()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # closed (2>&-): nobody wants to know
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (to the end of the process)
    if sys.stdout is None:
        error_line("stdout is closed, so that no answer can be given; use > /dev/null instead")
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):  # it may lack letters that names have
        sys.stdout.reconfigure(errors="backslashreplace")
    with terminates(), probing():
        return _run(arguments)


def _fill_descriptors() -> None:
    """Or a file that is opened later becomes stderr, and messages are written into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest number that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _run(arguments: list[str]) -> int:
    try:
        status = app(args=arguments, prog_name="imagine", standalone_mode=False)
        sys.stdout.flush()
        if status == 130:  # what newer typers make of an interrupt inside a command
            error_line("interrupted")
    except _UsageError as error:
        return _usage_error(error)
    except typer.Exit as done:
        return int(done.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        error_line("interrupted")
        return 130
    except SystemExit as done:
        if done.code == 0:  # completion
            return 0
        if done.code != 143:
            return _reader_gone()  # which rich exits for
        error_line("terminated")
        return 143
    except BrokenPipeError:
        return _reader_gone()
    except ImagineError as error:
        if _wants_traceback(arguments):
            raise
        error_line(str(error))
        return error.exit_status
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            error_line(f"not enough memory ({error}); take fewer trajectories, particles or steps")
            return 2
        if _wants_traceback(arguments):
            raise
        if isinstance(error, OSError) and error.filename is None and error.errno:
            # Commands have sentences for the files that they read and write; this is stdout.
            _mute_stdout()
            error_line(f"the answer could not be written to stdout: {os.strerror(error.errno)}")
            return 1
        error_line(
            f"{type(error).__name__}: {error} (this is a defect of imagine; "
            "run it again with --debug for the whole story)"
        )
        return 1
    return int(status or 0)


def _reader_gone() -> int:
    """What reads stdout went away (| head)."""
    _mute_stdout()
    print("imagine: stdout was closed; the rest of the answer was not written", file=sys.stderr)
    return 1


def _mute_stdout() -> None:
    """Or python would complain at exit that it can't write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wants_traceback(arguments: Sequence[str]) -> bool:
    return "--debug" in arguments


def _usage_error(error: BaseException) -> int:
    sentence = str(getattr(error, "message", "")) or str(error)
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        sentence = format_message()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "imagine"
    error_line(f"{' '.join(sentence.split()).rstrip('.')}. Try '{path} --help'.")
    return 2
