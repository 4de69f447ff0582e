"""``imagine sample``: a small world model to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagine_cli.cli.completion import sample_names
from imagine_cli.cli.options import Debug, Force
from imagine_cli.errors import InputError
from imagine_cli.printable import printable
from imagine_cli.samples import copy_sample, sample_files


def sample(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Which one, such as pendulum-gp.",
            show_default="their names are printed",
            autocompletion=sample_names,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write.", show_default="NAME.pt"),
    ] = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Copy a sample world model that comes with imagine; its path goes to stdout.

    Example: imagine sample pendulum-gp
    """
    if name is None:
        if output is not None:
            raise InputError("--output is of one sample model; name one")
        print("\n".join(sample_files()))
        return
    print(printable(str(copy_sample(name, output, overwrite=force))))
