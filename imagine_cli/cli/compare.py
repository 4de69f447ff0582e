"""``imagine compare``: like diff, for rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.options import Debug, Json
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from imagine_cli.evaluation.compare import Comparison
    from imagine_cli.evaluation.two_samples import TwoSamples


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.H5", help="A rollout.")],
    b: Annotated[Path, typer.Argument(metavar="B.H5", help="Another one.")],
    rtol: Annotated[
        float, typer.Option(help="Differences up to this part of the larger number are none.")
    ] = 0.0,
    atol: Annotated[float, typer.Option(help="Differences up to this are none.")] = 0.0,
    statistical: Annotated[
        bool,
        typer.Option(
            "--statistical",
            help="Whether the trajectories could come from one distribution, in place of whether "
            "they are equal: Kolmogorov-Smirnov tests, and what these would have found. Needs the "
            'extra "evaluate".',
        ),
    ] = False,
    alpha: Annotated[
        float,
        typer.Option(help="With --statistical: the chance to see a difference where none is."),
    ] = 0.01,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the exit status.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell whether two rollouts are the same, and where they differ.

    Exit status: 0 the same, 1 different, 2 trouble. What the headers say
    (model, seed, versions, ...) is shown where it differs and does not count.

    Example: imagine compare before.h5 after.h5 --rtol 1e-6

    Example: imagine compare before.h5 after.h5 --statistical
    """
    if statistical and (rtol or atol):
        raise InputError("--statistical has no tolerances; leave out --rtol and --atol")
    try:
        found: Comparison | TwoSamples
        if statistical:
            from imagine_cli.evaluation.two_samples import compare_distributions

            found = compare_distributions(a, b, alpha=alpha)
        else:
            from imagine_cli.evaluation.compare import compare_rollouts

            found = compare_rollouts(a, b, rtol=rtol, atol=atol)
    except InputError:
        raise
    except (ImagineError, OSError, MemoryError) as error:  # trouble is 2, as of diff
        raise InputError(f"{a} and {b} can't be compared: {error}") from error
    print_comparison(found, as_json=as_json, quiet=quiet)


def print_comparison(found: Comparison | TwoSamples, *, as_json: bool, quiet: bool) -> None:
    """Say what was found. Raises typer.Exit(1) where it is a difference."""
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as json_text

        print(json_text(found.as_dict()))
    elif not quiet:
        for line in found.lines():
            print(printable(line))
    if not found.same:
        raise typer.Exit(1)
