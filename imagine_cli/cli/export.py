"""``imagine export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.options import Debug, EnvKwargs, Force, check_output, parse_env_kwargs


def export(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="A policy checkpoint, .pt.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: .pt2 (torch.export) or .onnx (needs the extra onnx).",
        ),
    ] = Path("policy.pt2"),
    env: Annotated[
        str | None,
        typer.Option(help="Gymnasium env id it acts in.", show_default="the checkpoint's"),
    ] = None,
    env_kwarg: EnvKwargs = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Write a policy as a program for use elsewhere: observations (N, D) to actions (N, F).

    It is run as it was written and compared with the policy before the file appears. Its path
    goes to stdout.

    Example: imagine export policy.pt -o policy.onnx
    """
    check_output(output, force, policy)
    from imagine_cli.export.policy import export_policy

    kwargs = parse_env_kwargs(env_kwarg)
    export_policy(policy, output, env=env, env_kwargs=kwargs, overwrite=force)
    print(output)
