"""``imagine calibrate``: what of any model's variances persists along a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.completion import env_ids
from imagine_cli.cli.console import messages
from imagine_cli.cli.fit import print_scores
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
    check_there,
    parse_env_kwargs,
)
from imagine_cli.cli.progress import progress


def calibrate(
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="Transitions of the real env, as imagine fit takes them; repeatable.",
        ),
    ],
    model: Annotated[Path, typer.Option(help="World model of any kind.")] = Path("wm.pt"),
    output: NewCheckpoint = Path("calibrated.pt"),
    env: Annotated[
        str | None,
        typer.Option(
            help="Gymnasium env id, where neither the data nor --model say.", autocompletion=env_ids
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    columns: Columns = None,
    allow_imagined: AllowImagined = False,
    seed: Seed = 0,
    held_out: Annotated[float, typer.Option(help="Part of the data to score on, up to 0.4.")] = 0.2,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find what of a model's error persists, from real data, and save it with the model.

    imagine fit does so by itself; this is for models that come from elsewhere,
    or for data that are closer to what the model is used for. One step ahead
    the model stays as it is; further ahead its band holds what really happens.

    Example: imagine calibrate --model wm.pt --data real.h5 -o calibrated.pt
    """
    check_there("world model", model)
    check_data(*data)
    check_output(output, force, model, *data)

    from imagine_cli.fitting import calibrate_world_model

    with progress(quiet) as display:
        metadata = calibrate_world_model(
            model, output, data=data, env_id=env, env_kwargs=parse_env_kwargs(env_kwarg),
            columns=columns, allow_imagined=allow_imagined, seed=seed, held_out=held_out,
            overwrite=force, progress=display,
        )  # fmt: skip
    if json:
        from imagine_cli.cli.inspect_document import as_json

        print(as_json({"path": str(output), **metadata}))
        return
    print(output)
    if not quiet:
        print_scores(metadata["held_out_scores"])
        if "share" not in metadata["model_error"]:
            messages().print("nothing of what it misses persists by more than chance")
