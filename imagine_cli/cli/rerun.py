"""``imagine rerun``: a rollout again, from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.compare import print_comparison
from imagine_cli.cli.completion import env_ids
from imagine_cli.cli.options import (
    Debug,
    EnvKwargs,
    Force,
    Json,
    Quiet,
    TrustPickle,
    check_output,
    parse_env_kwargs,
)
from imagine_cli.cli.progress import progress
from imagine_cli.cli.settings import command_line


def rerun(
    rollout: Annotated[Path, typer.Argument(metavar="ROLLOUT.H5", help="A rollout.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Keep the new rollout here.", show_default="it is removed"
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Where its world model is now.", show_default="where it was"),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            help="Its env, needed where that is module:Id: the module is run.",
            autocompletion=env_ids,
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", help="Its policy, needed where that is module:function: the module is run."
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            "--reward", help="Its reward, needed where that is module:function: the module is run."
        ),
    ] = None,
    trust_pickle: TrustPickle = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a rollout again as its file says it was made, and tell whether it came out the same.

    The model, and the files of its policy and start, must be those it was made
    with, which is checked. Exit status: 0 the same, 1 different, 2 it can't be
    run again.

    Example: imagine rerun rollout.h5
    """
    if output is not None:
        check_output(output, force)

    with progress(quiet) as display:
        display.stage("running it again", total=None)
        from imagine_cli.evaluation.rerun import rerun_rollout

        found = rerun_rollout(
            rollout,
            output=output,
            model=model,
            env_id=env,
            env_kwargs=parse_env_kwargs(env_kwarg),
            policy=policy,
            reward=reward,
            overwrite=force,
            trust_pickle=trust_pickle,
            command=command_line(),
        )
        display.finish()
    print_comparison(found, as_json=as_json, quiet=quiet)
