"""``imagine export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.completion import env_ids
from imagine_cli.cli.inspect_kind import ROLLOUT, file_kind
from imagine_cli.cli.options import Debug, EnvKwargs, Force, check_output, parse_env_kwargs
from imagine_cli.errors import InputError


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A policy checkpoint (.pt), or a rollout.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="What to write. Of a policy: .pt2 (torch.export) or .onnx (needs the extra onnx). "
            "Of a rollout: .csv, .parquet, .npz, .nc (NetCDF), or a folder: for Minari one that is "
            "named as it does, imagined-v0.",
            show_default="policy.pt2 or rollout.csv",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Format of a rollout: csv, parquet, npz, netcdf, minari or torchrl.",
            show_default="by the output's name",
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Gymnasium env id that it is of.",
            show_default="the file's",
            autocompletion=env_ids,
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Write a policy as a program, or a rollout as a data set, for use elsewhere.

    A policy becomes a program from observations (N, D) to actions (N, F), which is run and
    compared with the policy before the file appears. Of a rollout the means and standard
    deviations are written, each trajectory up to its end. The path goes to stdout.

    Example: imagine export policy.pt -o policy.onnx

    Example: imagine export rollout.h5 -o rollout.parquet

    Example: imagine export rollout.h5 --to torchrl
    """
    kwargs = parse_env_kwargs(env_kwarg)
    if file_kind(file) == ROLLOUT:
        from imagine_cli.export.rollout import FORMATS, export_rollout

        target = output or Path(FORMATS[to if to in FORMATS else "csv"].target)
        export_rollout(file, target, to=to, env=env, env_kwargs=kwargs, overwrite=force)
    elif to is not None:
        raise InputError(f"--to is for rollouts, and {file} is none")
    else:
        target = output or Path("policy.pt2")
        check_output(target, force, file)
        from imagine_cli.export.policy import export_policy

        export_policy(file, target, env=env, env_kwargs=kwargs, overwrite=force)
    print(target)
