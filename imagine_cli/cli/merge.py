"""``imagine merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.options import Debug, Force, Quiet
from imagine_cli.cli.progress import progress


def merge(
    folder: Annotated[
        Path, typer.Argument(metavar="ROLLOUT.H5.partial", help="What imagine rollout left.")
    ],
    virtual: Annotated[
        bool,
        typer.Option(
            "--virtual",
            help="Leave the shards, and write virtual.h5 beside them, which shows them to h5py and "
            "xarray as one file; NaN where there is none.",
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make the rollout file of the shards in a .partial folder, which goes.

    inspect, compare and evaluate read the folder as it is, too.

    Exit status: 0 the file is there, and its path on stdout; 1 shards are missing, with the parts
    (imagine rollout --shard) that they are of.

    Example: imagine merge rollout.h5.partial
    """
    from imagine_cli.recording import merge

    with progress(quiet) as display:
        display.stage("merging", total=None)
        made = merge.virtual(folder) if virtual else merge.merge_parts(folder, overwrite=force)
        display.finish()
    print(made)
