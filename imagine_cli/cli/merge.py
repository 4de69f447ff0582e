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
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make the rollout file of the shards in a .partial folder, which goes.

    Exit status: 0 the file is there, and its path on stdout; 1 shards are missing, with the parts
    (imagine rollout --shard) that they are of.

    Example: imagine merge rollout.h5.partial
    """
    from imagine_cli.recording.merge import merge_parts

    with progress(quiet) as display:
        display.stage("merging", total=None)
        made = merge_parts(folder, overwrite=force)
        display.finish()
    print(made)
