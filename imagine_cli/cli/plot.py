"""``imagine plot``: a rollout or an evaluation as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.completion import env_ids
from imagine_cli.cli.console import remark_line, warning_line
from imagine_cli.cli.options import Debug, EnvKwargs, Force, Quiet, check_output, parse_env_kwargs
from imagine_cli.cli.progress import progress
from imagine_cli.cli.tables import bytes_text
from imagine_cli.errors import InputError


def plot(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A rollout (.h5), or an evaluation (.json) as imagine evaluate --json prints it.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .png, .svg, .pdf or .html file, which is interactive (extra "
            '"plotly"); of a rollout also a .gif or .mp4 video.',
            show_default="the file's name with .png",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(help="A real run to draw over it, as imagine evaluate --record writes it."),
    ] = None,
    trajectory: Annotated[
        list[int] | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Which trajectory, counted from 0; up to 4 of them, side by side.",
            show_default="0",
        ),
    ] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Which dimension, by name or number; repeatable.",
            show_default="all, up to 24",
        ),
    ] = None,
    horizon: Annotated[
        list[int] | None,
        typer.Option(
            metavar="STEP",
            min=1,
            help="Of an evaluation: which step; repeatable, up to 4, where it is of one model.",
            show_default="first, middle and last; the last of several models",
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Of a video: its env, needed where that is module:Id.", autocompletion=env_ids
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a rollout's fan chart, how honest an evaluation's intervals are, or a learning curve.

    A fan chart has the means with their 50 and 95 % bands, step by step.
    Particles, where the rollout keeps any, are thin grey lines; a real run is
    a dashed black one. With a .gif or .mp4 output the env itself is drawn
    (extra "video"). An evaluation's picture has observed against nominal
    coverage and histograms of the probability integral transform; that of a
    folder of imagine learn the real return against real steps. The picture's
    path goes to stdout. Needs the extra "plot".

    Example: imagine plot rollout.h5 -o fan.svg

    Example: imagine plot imagined.h5 --real real.h5 --trajectory 0 --trajectory 1

    Example: imagine plot evaluation.json --horizon 1 --horizon 50 -o calibration.png
    """
    target = file.with_suffix(".png") if output is None else output
    check_output(target, force, file, real)
    video = target.suffix.lower() in (".gif", ".mp4")
    kind = "a video" if video else _kind(file)
    unused = {
        "--real": real is not None and kind != "a fan chart",
        "--trajectory": bool(trajectory) and kind in ("an evaluation", "a learning curve"),
        "--dimension": bool(dimension) and kind in ("a video", "a learning curve"),
        "--horizon": bool(horizon) and kind != "an evaluation",
        "--env": env is not None and not video,
        "--env-kwarg": bool(env_kwarg) and not video,
    }
    for option, given in unused.items():
        if given:
            raise InputError(f"{option} says nothing about {kind}; leave it out")
    if len(trajectory or []) > 1 and video:
        raise InputError("a video is of one trajectory; give one --trajectory")
    left_out, what = 0, "models or dimensions are left out for lack of space"
    if video:
        with progress(quiet) as display:
            display.stage("loading", total=None)
            from imagine_cli.video.render import render_video

            render_video(
                file, target, trajectory=(trajectory or [0])[0], env_id=env,
                env_kwargs=parse_env_kwargs(env_kwarg), overwrite=force, progress=display,
            )  # fmt: skip
            display.finish()
    elif kind == "a learning curve":
        from imagine_cli.plots.learning_curve import plot_learning

        plot_learning(file, target, overwrite=force)
    elif kind == "an evaluation":
        from imagine_cli.plots.plot import plot_evaluation

        left_out = plot_evaluation(
            file, target, horizons=horizon or [], dimensions=dimension or [], overwrite=force
        )
    else:
        from imagine_cli.plots.plot import plot_rollout

        what = "dimensions are left out for lack of space; choose by --dimension"
        left_out = plot_rollout(
            file, target, real=real, trajectories=trajectory or [0], dimensions=dimension or [],
            overwrite=force,
        )  # fmt: skip
    print(target)
    if target.suffix.lower() == ".html" and not quiet:
        remark_line(
            f"{target} is {bytes_text(target.stat().st_size)}, for plotly.js is in it: it loads "
            "nothing from the network"
        )
    if left_out and not quiet:
        warning_line(f"{left_out} {what}")


def _kind(file: Path) -> str:
    from imagine_cli.plots.learning_curve import is_run

    if is_run(file):
        return "a learning curve"
    return "an evaluation" if _is_json(file) else "a fan chart"


def _is_json(file: Path) -> bool:
    """By its name or, whatever that is, its first character."""
    try:
        with open(file, "rb") as stream:
            return stream.read(64).lstrip().startswith(b"{")
    except OSError:
        return file.suffix.lower() == ".json"
