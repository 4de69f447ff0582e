"""Options that more than one command has."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from imagine_cli.cli.completion import env_ids, names_of
from imagine_cli.errors import InputError
from imagine_cli.files.whole_file import check_writable
from imagine_cli.transitions.located import located

EnvId = Annotated[
    str,
    typer.Option(
        "--env",
        help="Gymnasium env id; module:Id imports the module first.",
        autocompletion=env_ids,
    ),
]
EnvIdOrModels = Annotated[
    str | None,
    typer.Option(
        "--env",
        help="Gymnasium env id; module:Id imports the module first.",
        show_default="--model's",
        autocompletion=env_ids,
    ),
]
EnvKwargs = Annotated[
    list[str] | None,
    typer.Option("--env-kwarg", metavar="KEY=VALUE", help="Argument for the env; repeatable."),
]
Policy = Annotated[
    str,
    typer.Option(
        "--policy",
        help="What acts: random, zero, constant:0.5,-1, a planner (cem, icem or mppi, such as "
        "icem:horizon=15), a .npy, .csv or rollout .h5 file of actions to replay, a policy "
        ".pt, .pt2, .onnx or Stable-Baselines3's .zip, or module:function, which is imported.",
        autocompletion=names_of("POLICIES"),
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same numbers.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
Json = Annotated[bool, typer.Option("--json", help="The answer as JSON on stdout.")]
NewCheckpoint = Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]
TrustPickle = Annotated[
    bool, typer.Option("--trust-pickle", help="Load a pickled model; that can run any code in it.")
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Moment matching by compiled functions: faster, and the same to rounding. Changes "
        'nothing where there are none. Needs the extra "compile".',
    ),
]
Particles = Annotated[
    int | None,
    typer.Option("--particles", min=2, help="Particles of each trajectory.", show_default="100"),
]
Members = Annotated[
    str | None,
    typer.Option(
        "--members",
        help="Which member of an ensemble, or which function drawn from a Gaussian process, "
        "a particle follows: random (another one at each step) or fixed (one for life).",
        show_default="fixed",
    ),
]
Resample = Annotated[
    bool, typer.Option("--resample", help="Draw the particles anew from a Gaussian at each step.")
]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        help="What is maximised: env (the env's own), saturating:target=...;width=..., "
        "quadratic:target=...;weight=..., model (a learned one), or module:function.",
        show_default="the model's, where it has one",
        autocompletion=names_of("REWARDS"),
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=NAMES;...",
        help="Which columns or arrays of the data are what, where their names are not usual ones: "
        "'observation=x,y;action=u;episode=run'. There is observation, action, next_observation "
        "(else the next row's), reward, episode and end; x_* is all that begin so.",
        show_default="by their names",
    ),
]
AllowImagined = Annotated[
    bool,
    typer.Option("--allow-imagined", help="Take data that a world model imagined too."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def parse_env_kwargs(
    pairs: list[str] | None, option: str = "--env-kwarg", example: str = "g=9.81"
) -> dict[str, Any]:
    """``["g=9.8", "name=x"]`` -> ``{"g": 9.8, "name": "x"}``: JSON values, else plain strings."""
    kwargs: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"{option} {pair!r} is not KEY=VALUE, as in {option} {example}")
        try:
            kwargs[key] = json.loads(text)
        except ValueError:
            kwargs[key] = {"True": True, "False": False, "None": None}.get(text, text)
    return kwargs


def check_there(what: str, *paths: Path | None) -> None:
    """Refuse what is to be read and isn't there, before torch is imported, which takes seconds."""
    for path in paths:
        if path is not None and not os.path.lexists(path):
            raise InputError(f"there is no {what} {path}")


def check_data(*sources: Path) -> None:
    """As :func:`check_there`, of data: a file, a folder, or the id of a Minari dataset."""
    for source in sources:
        located(source)


def check_output(path: Path, force: bool, *read: str | Path | None) -> None:
    """Refuse an output path that can't or mustn't be written, before any work is done.

    ``read`` is what the command reads, as far as it is files; it is not to be overwritten.
    """
    sources = {os.path.realpath(source) for source in read if source}
    if os.path.realpath(path) in sources and path.exists():
        raise InputError(f"{path} is read by this command; name another output")
    check_writable(path, force)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the output folder {path.parent} is not writable")
