"""``imagine bench``: how fast this machine imagines, beside peers and floors."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.console import answers
from imagine_cli.cli.options import Compile, Debug, Device, Json, Quiet
from imagine_cli.cli.progress import progress
from imagine_cli.cli.tables import number_table, significant

if TYPE_CHECKING:
    from imagine_cli.benchmarks.table import Row


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="moment-matching, gradient, policy-gradient, rollout, engine or ensemble; "
            "repeatable.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each row is measured.")] = 2.0,
    fast: Annotated[bool, typer.Option("--quick", help="The small cases alone.")] = False,
    device: Device = "cpu",
    compiled: Compile = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how fast this machine imagines.

    Medians of runs in turn, beside torchrl, mbrl-lib where it is installed,
    and what can't be done without: exponentials, matrix products.

    Example: imagine bench --only moment-matching --quick --seconds 0.5
    """
    with progress(quiet) as display:
        display.stage("measuring", total=None)
        from imagine_cli.benchmarks.table import Bench, run_benchmarks

        rows: list[Row] = []
        for row in run_benchmarks(only, Bench(device, seconds, fast, compiled)):
            rows.append(row)
            display.advance(note=f"{row.benchmark}: {row.case}")
    _answer(rows, device, compiled, as_json=as_json)


def _answer(rows: list[Row], device: str, compiled: bool, *, as_json: bool) -> None:
    import torch

    from imagine_cli.cli.inspect_document import as_json as json_text

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    threads = torch.get_num_threads()
    if as_json:
        document = {
            "device": device,
            "name": name,
            "machine": platform.machine(),
            "threads": threads,
            "compiled": compiled,
            "torch": torch.__version__,
            "unit": "ms",
            "rows": [row.as_dict() for row in rows],
        }
        print(json_text(document))
        return
    console = answers()
    console.print(
        f"Medians in milliseconds on {device}{f', {name}' if name else ''}, {threads} threads, "
        f"torch {torch.__version__}{', compiled' if compiled else ''}\n",
        markup=False,
        soft_wrap=True,
    )
    cells = []
    for row in rows:
        found = row.as_dict()
        cells.append([row.benchmark, row.case, significant(row.ours)])
        for beside, ratios in (("peers", "times_faster"), ("floors", "times_floor")):
            times = [f"{name} {significant(time)}" for name, time in found[beside].items()]
            cells[-1].append(", ".join(times))
            cells[-1].append(", ".join(significant(ratio, 2) for ratio in found[ratios].values()))
    headings = ["benchmark", "case", "imagine", "peer", "times faster", "floor", "times the floor"]
    console.print(number_table(headings, cells, left=2))
