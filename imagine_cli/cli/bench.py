"""``imagine bench``: how fast this machine imagines, beside peers and floors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.options import Compile, Debug, Json, Quiet

if TYPE_CHECKING:
    from imagine_cli.benchmarks import Row

__all__ = ["bench"]


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="moment-matching, gradient, policy-gradient, rollout, engine or ensemble; "
            "repeatable.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="How long each row is measured.")
    ] = 2.0,
    fast: Annotated[bool, typer.Option("--quick", help="The small cases alone.")] = False,
    device: Annotated[str, typer.Option("--device", help="Where the models compute.")] = "cpu",
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
    from imagine_cli.cli.progress import progress
    from imagine_cli.cli.warnings import as_lines

    with as_lines(), progress(quiet) as display:
        display.stage("measuring", total=None)
        from imagine_cli.benchmarks import Bench, run_benchmarks

        rows: list[Row] = []
        for row in run_benchmarks(only, Bench(device, seconds, fast, compiled)):
            rows.append(row)
            display.advance(note=f"{row.benchmark}: {row.case}")
    _answer(rows, device, compiled, as_json=as_json)


def _answer(rows: list[Row], device: str, compiled: bool, *, as_json: bool) -> None:
    import platform

    import torch

    from imagine_cli.cli.console import answers
    from imagine_cli.cli.inspect_document import as_json as json_text
    from imagine_cli.cli.tables import number_table, significant

    where = {
        "device": device,
        "name": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "compiled": compiled,
        "torch": torch.__version__,
    }
    if as_json:
        print(json_text({**where, "unit": "ms", "rows": [row.as_dict() for row in rows]}))
        return
    cells = []
    for row in rows:
        ratios = row.as_dict()
        cells.append(
            [
                row.benchmark,
                row.case,
                significant(row.ours),
                *_beside(row.peers, ratios["times_faster"]),
                *_beside(row.floors, ratios["times_floor"]),
            ]
        )
    console = answers()
    named = f", {where['name']}" if where["name"] else ""
    console.print(
        f"Medians in milliseconds on {device}{named}, {where['threads']} threads, "
        f"torch {torch.__version__}{', compiled' if compiled else ''}",
        markup=False,
        soft_wrap=True,
    )
    console.print()
    headings = ["benchmark", "case", "imagine", "peer", "times faster", "floor", "times the floor"]
    console.print(number_table(headings, cells, left=2))


def _beside(times: dict[str, float], ratios: dict[str, float]) -> tuple[str, str]:
    """What ran beside it, and the ratio; nothing where nothing did."""
    from imagine_cli.cli.tables import significant

    return (
        ", ".join(f"{name} {significant(time)}" for name, time in times.items()),
        ", ".join(significant(ratio, 2) for ratio in ratios.values()),
    )
