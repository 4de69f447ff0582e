"""``imagine fit``: fit a world model to a real env, or to data of one, and save it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagine_cli.cli.completion import env_ids, names_of
from imagine_cli.cli.console import answers, messages
from imagine_cli.cli.options import (
    AllowImagined,
    Columns,
    Debug,
    EnvKwargs,
    Force,
    Json,
    NewCheckpoint,
    Quiet,
    Seed,
    check_data,
    check_output,
    parse_env_kwargs,
)
from imagine_cli.cli.progress import progress
from imagine_cli.cli.tables import chosen, number_table, plural, significant, times
from imagine_cli.errors import ImagineError
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from imagine_cli.fitting import Fitted

_NOT_OF_THE_FIT = {"env", "env_kwarg", "output", "force", "quiet", "json", "debug", "no_scores"}


def _size(text: str, default: str, least: int = 1) -> Any:
    """A whole number, whose default is the kind's."""
    return typer.Option(min=least, help=text, show_default=default)


def fit(
    env: Annotated[
        str | None,
        typer.Option(
            help="Gymnasium env id; module:Id imports the module first. Else --data's.",
            autocompletion=env_ids,
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Recorded transitions in place of running the env: a rollout file of a real run "
            "(imagine evaluate --record), a Minari dataset by id or folder, an .npz, .hdf5, .csv "
            "or .parquet file, or a folder that torchrl dumped; repeatable.",
        ),
    ] = None,
    columns: Columns = None,
    allow_imagined: AllowImagined = False,
    output: NewCheckpoint = Path("wm.pt"),
    kind: Annotated[
        str,
        typer.Option(
            help="Kind of world model: gp, sparse-gp, linear or ensemble.",
            autocompletion=names_of("FITS"),
        ),
    ] = "gp",
    steps: Annotated[
        int | None,
        _size(
            "Steps of the real env to fit to and score on; with --data, its first so many.",
            "20000, or all that --data has",
            least=50,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            autocompletion=names_of("POLICIES"),
            help="What acts in the real env: random, zero, constant:0.5,-1, a file of actions "
            "(.npy, .csv, .h5) or a policy checkpoint (.pt).",
            show_default="random",
        ),
    ] = None,
    reward: Annotated[
        bool, typer.Option("--reward", help="Model the reward too (linear, ensemble).")
    ] = False,
    seed: Seed = 0,
    held_out: Annotated[
        float,
        typer.Option(
            help="Part of the steps to score on, up to 0.4; as much again sets the variances."
        ),
    ] = 0.2,
    points: Annotated[
        int | None,
        _size(
            "gp: training points, chosen far from each other; sparse-gp: inducing points.",
            "300; sparse-gp: 100",
            least=2,
        ),
    ] = None,
    restarts: Annotated[int | None, _size("gp: optimisations for each dimension.", "3")] = None,
    members: Annotated[int | None, _size("ensemble: networks to train.", "7")] = None,
    elites: Annotated[
        int | None, _size("ensemble: networks to keep, those that predict best.", "5")
    ] = None,
    hidden: Annotated[int | None, _size("ensemble: units of each hidden layer.", "128")] = None,
    layers: Annotated[int | None, _size("ensemble: hidden layers.", "3")] = None,
    epochs: Annotated[int | None, _size("ensemble: most passes over the data.", "100")] = None,
    patience: Annotated[
        int | None, _size("ensemble: passes without an improvement before it stops.", "10")
    ] = None,
    no_scores: Annotated[
        bool, typer.Option("--no-scores", help="Don't score it, which can outlast the fit.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a world model to a real env, and save it.

    The env runs under a policy, or somebody recorded what it did; part of the steps is fitted to,
    part sets how wide the predictions are and what of the error persists, and the rest says how
    good they are, 1, 5 and 20 steps ahead. The model is written before it is scored, and again
    with its scores, so that Ctrl-C loses none. The kinds gp and sparse-gp need the extra "fit".

    Example: imagine fit --env Pendulum-v1 --output wm.pt

    Example: imagine fit --data real.h5 --kind ensemble --reward
    """
    given = {**locals(), "env_kwargs": parse_env_kwargs(env_kwarg)}
    options: dict[str, Any] = {
        name: value
        for name, value in given.items()
        if value is not None and name not in _NOT_OF_THE_FIT
    }
    check_data(*(data or []))
    check_output(output, force, policy, *(data or []))

    from imagine_cli.checkpoint import save_world_model
    from imagine_cli.fitting import fit_world_model

    written: list[dict[str, Any]] = []

    def write(fitted: Fitted) -> None:
        command = f"{fitted.metadata['command']} --output {shlex.quote(str(output))}"
        metadata = {**fitted.metadata, "command": command}
        overwrite = force or bool(written)
        save_world_model(
            fitted.model, output, env=fitted.env, metadata=metadata, overwrite=overwrite
        )
        written.append(metadata)

    try:
        with progress(quiet) as display:
            fitted = fit_world_model(
                env, progress=display, on_model=write, scores=not no_scores, **options
            )
        if not no_scores:
            write(fitted)
    except (KeyboardInterrupt, SystemExit, ImagineError):
        if written:
            print(f"imagine: {printable(str(output))} is written, without scores", file=sys.stderr)
        raise
    metadata = written[-1]
    if json:
        from imagine_cli.cli.inspect_document import as_json

        print(as_json({"path": str(output), **metadata}))
        return
    print(output)
    if not quiet and not no_scores:
        print_scores(metadata["held_out_scores"])


def print_scores(scores: dict[str, Any]) -> None:
    """Scores on what was held out, so many steps ahead each."""
    for number, entry in enumerate(scores["horizons"]["ahead"]):
        if number:
            print()
        answers().print(_scores(entry, scores["observation_names"]))
    for sentence in scores["horizons"]["left_out"]:
        messages().print(printable(sentence), markup=False)


def _scores(scores: dict[str, Any], names: list[str]) -> Table:
    """So many steps ahead, on transitions held out: each dimension, all, and the reward."""
    others = {"all": scores["overall"], "reward": scores.get("reward")}
    below = {name: some for name, some in others.items() if some is not None}
    columns = [
        [*scores[key], *(some[key] for some in below.values())]
        for key in ("rmse", "nll", "coverage_95")
    ]
    amiss = [abs(covered - 0.95) for covered in scores["coverage_95"]]
    shown, caption = chosen(amiss, "those whose intervals are furthest from 95 %")
    shown += range(len(names), len(names) + len(below))
    rows = [
        [name, significant(rmse), _nats(nll), f"{100.0 * covered:.1f} %"]
        for name, rmse, nll, covered in zip([*names, *below], *columns, strict=True)
    ]
    held_out = f"{plural(scores['transitions'], 'step')} held out"
    if scores["steps"] > 1:
        held_out = f"{plural(scores['steps'], 'step')} ahead, {times(scores['transitions'])}"
    headings = [held_out, "RMSE", "NLL (nats)", "in 95 % interval"]
    return number_table(headings, [rows[k] for k in shown], caption=caption)


def _nats(nll: float) -> str:
    return f"{nll:.2f}" if abs(nll) < 1e5 else f"{nll:.2g}"
