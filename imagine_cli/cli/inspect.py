"""``imagine inspect``: what is in a rollout or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.inspect_kind import ROLLOUT, file_kind
from imagine_cli.cli.options import Debug, Json
from imagine_cli.errors import InputError


def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A rollout (.h5), a checkpoint (.pt, .pt2) or mbrl-lib's folder."
        ),
    ],
    json: Json = False,
    csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="A line for each trajectory, step and dimension: mean, sd. As it reads."
        ),
    ] = False,
    trajectory: Annotated[
        int | None,
        typer.Option("--trajectory", metavar="K", help="Only trajectory K, counted from 0."),
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", metavar="K", help="Step K in full, 0 being the start.")
    ] = None,
    plot: Annotated[
        bool,
        typer.Option("--plot", help="Fan charts of a trajectory (0 unless --trajectory is given)."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Show what is in a rollout or in a world-model checkpoint.

    Of a rollout: where it comes from, how the mean and the standard
    deviation (±) of each observation dimension run, and warnings on stderr
    about numbers that can't be right. Without --trajectory: over all of them,
    the mean of their means, the root mean square of their deviations.

    Example: imagine inspect rollout.h5

    Example: imagine inspect rollout.h5 --trajectory 0 --step 25

    Example: imagine inspect rollout.h5 --plot

    Example: imagine inspect rollout.h5 --json | python -m json.tool
    """
    if json and csv:
        raise InputError("--json and --csv are two answers; give one of them")
    if plot and (json or csv or step is not None):
        raise InputError("--plot goes with --trajectory alone; leave out --json, --csv and --step")
    if file_kind(file) != ROLLOUT:
        given = {"--plot": plot, "--csv": csv, "--trajectory": trajectory, "--step": step}
        for option, value in given.items():
            if value is not None and value is not False:
                raise InputError(f"{option} is for rollouts and {file} is a checkpoint")
        from imagine_cli.cli.inspect_checkpoint import inspect_checkpoint

        inspect_checkpoint(file, json=json)
    elif plot:
        from imagine_cli.cli.inspect_plot import inspect_plot

        inspect_plot(file, trajectory or 0)
    else:
        from imagine_cli.cli.inspect_rollout import inspect_rollout

        inspect_rollout(file, json=json, csv=csv, trajectory=trajectory, step=step)
