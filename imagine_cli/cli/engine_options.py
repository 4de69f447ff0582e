"""Options of who imagines a rollout, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.rollout.engine import Engine

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Who imagines: local (this process), processes (others on this machine), ray (a "
        'cluster; needs the extra "ray"). The numbers are the same to the bit.',
        autocompletion=names_of("ENGINES"),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", help="How many work at a time.", show_default="as many as there are cores"
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Of a Ray cluster: auto, HOST:6379 or ray://HOST:10001.",
        show_default="one is started here",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option("--gpus-per-worker", help="Of a Ray worker, such as 0.5.", show_default="0"),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        help="Seconds after which a worker's task, which usually takes 20, is stopped and given to "
        "another worker, once.",
        show_default="3600",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Imagine part K of N, in a batch system's array job say. OUTPUT.partial, which goes "
        "to stdout, grows by it; imagine merge makes the file. 1/1: all of it, left in shards.",
    ),
]


def chosen_engine(options: Mapping[str, Any]) -> Engine:
    """The engine that a command's options name. InputError for one that is none of its."""
    from imagine_cli.rollout.engine import make_engine

    names = ("workers", "address", "gpus_per_worker", "time_limit")
    return make_engine(options["engine"], **{name: options.get(name) for name in names})


def parse_part(text: str | None) -> tuple[int, int] | None:
    """``"3/16"`` -> ``(3, 16)``. InputError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text)
    if found is None:
        raise InputError(f"--shard {text!r} is not K/N, as in --shard 3/16")
    return int(found[1]), int(found[2])
