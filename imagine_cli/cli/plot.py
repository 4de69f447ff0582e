"""``imagine plot``: a rollout as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.options import Debug, Force, Quiet, check_output

__all__ = ["plot"]


def plot(
    file: Annotated[Path, typer.Argument(metavar="ROLLOUT.H5", help="A rollout.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .png, .svg, .pdf or .html file.",
            show_default="the rollout's name with .png",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            "--real", help="A real run to draw over it, as imagine evaluate --record writes it."
        ),
    ] = None,
    trajectory: Annotated[
        list[int] | None,
        typer.Option(
            "--trajectory",
            metavar="K",
            min=0,
            help="Which trajectory, counted from 0; up to 4 of them, side by side.",
            show_default="0",
        ),
    ] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option(
            "--dimension",
            metavar="NAME",
            help="Which dimension, by name or number; repeatable.",
            show_default="all, up to 24",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a fan chart: means with their 50 and 95 % bands, step by step.

    Particles, where the rollout keeps any, are thin grey lines; a real run is
    a dashed black one. Its path goes to stdout. Needs the extra "plot".

    Example: imagine plot rollout.h5 -o fan.svg

    Example: imagine plot imagined.h5 --real real.h5 --trajectory 0 --trajectory 1
    """
    target = file.with_suffix(".png") if output is None else output
    check_output(target, force)

    from imagine_cli.plots import plot_rollout

    left_out = plot_rollout(
        file,
        target,
        real=real,
        trajectories=trajectory or [0],
        dimensions=dimension or [],
        overwrite=force,
    )
    print(target)
    if left_out and not quiet:
        from imagine_cli.cli.console import warning_line

        warning_line(f"{left_out} dimensions are left out for want of room; choose by --dimension")
