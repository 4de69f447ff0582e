"""``imagine evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.cli.console import warning_line
from imagine_cli.cli.engine_options import (
    Address,
    EngineName,
    GpusPerWorker,
    TimeLimit,
    Workers,
    chosen_engine,
)
from imagine_cli.cli.options import (
    Columns,
    Compile,
    Debug,
    Device,
    EnvIdOrModels,
    EnvKwargs,
    Force,
    Json,
    Members,
    Particles,
    Policy,
    Quiet,
    Resample,
    Seed,
    TrustPickle,
    check_data,
    check_output,
    check_there,
    parse_env_kwargs,
)
from imagine_cli.cli.progress import progress
from imagine_cli.cli.settings import command_line
from imagine_cli.errors import InputError
from imagine_cli.printable import printable

_OF_THE_EVALUATION = {
    *("env_kwargs", "steps", "trajectories", "policy", "propagation", "particles", "members"),
    *("resample", "seed", "real", "columns", "record", "imagined", "device", "compiled"),
    *("trust_pickle",),
}


def evaluate(
    model: Annotated[
        list[Path],
        typer.Option("--model", help="World-model checkpoint (.pt); repeat it to rank several."),
    ],
    env: EnvIdOrModels = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Longest horizon.", show_default="50, or --real's")
    ] = None,
    trajectories: Annotated[
        int | None,
        typer.Option(
            "--trajectories",
            "-n",
            min=1,
            help="How many real trajectories.",
            show_default="100, or --real's",
        ),
    ] = None,
    policy: Policy = "random",
    propagation: Annotated[
        list[str] | None,
        typer.Option(
            help="How beliefs go through the models: moments, linearized, unscented or particles; "
            "repeat it to rank several.",
            show_default="each model's own",
            autocompletion=names_of("PROPAGATIONS"),
        ),
    ] = None,
    particles: Particles = None,
    members: Members = None,
    resample: Resample = False,
    seed: Seed = 0,
    real: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A recorded real run in place of running one: whatever imagine fit --data takes.",
        ),
    ] = None,
    columns: Columns = None,
    record: Annotated[
        Path | None, typer.Option(help="Write the real run to this .h5 file.")
    ] = None,
    imagined: Annotated[
        Path | None, typer.Option(help="Write the imagined rollout to this .h5 file.")
    ] = None,
    env_kwarg: EnvKwargs = None,
    dimensions: Annotated[
        bool, typer.Option("--dimensions", "-d", help="A table for each dimension too.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GATE",
            help="Exit with status 1 where this holds of the whole 95 % interval over "
            "trajectories, as in 'rmse@10 > 0.2', 'coverage95@25 < 0.9' or "
            "'bias[theta_dot]@last > 0.1'; repeatable. There is rmse, "
            "bias, nll, crps, energy, coverage50/90/95, mahalanobis50/90/95, sharpness, "
            "calibration and return_bias.",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="REPORT.XML", help="Write the gates as a JUnit report.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the calibration curves: a .png, .svg, .pdf or "
            '.html file. Needs the extra "plot".',
        ),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    gpus_per_worker: GpusPerWorker = None,
    time_limit: TimeLimit = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_pickle: TrustPickle = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score what a world model imagines against what really happens.

    Runs the real env under a policy, imagines from the same initial states
    with the same actions, and tells for each horizon how wrong the means are,
    whether the intervals are honest, and until which step the model is better
    than no change and than a linear model. Models and propagations are ranked
    in one table by CRPS over standard deviation, averaged: 0 is perfect. Needs
    the extra "evaluate".

    Example: imagine evaluate --env Pendulum-v1 --model wm.pt --steps 50 -n 100

    Example: imagine evaluate --env Pendulum-v1 --model wm.pt --fail-if 'rmse@10 > 0.2'

    Example: imagine evaluate --env Pendulum-v1 --model a.pt --model b.pt --record real.h5

    Example: imagine evaluate --model wm.pt --real real.h5 --propagation linearized
    """
    given: dict[str, Any] = {**locals(), "env_kwargs": parse_env_kwargs(env_kwarg)}
    if junit is not None and not fail_if:
        raise InputError("--junit reports gates and there are none; give --fail-if")
    check_there("world model", *model)
    check_data(*([real] if real else []))
    for output in (record, imagined, junit, plot):
        if output is not None:
            check_output(output, force, policy, real, *model)
    options = {name: value for name, value in given.items() if name in _OF_THE_EVALUATION}
    if plot is not None:
        from imagine_cli.plots.picture import check_picture

        check_picture(plot, force)

    with progress(quiet) as display:
        display.stage("loading and compiling" if compiled else "loading", total=None)
        from imagine_cli.evaluation.evaluate import evaluate_model
        from imagine_cli.evaluation.gates import check_gates, judge, parse_gate

        gates = [parse_gate(text) for text in fail_if or []]
        found = evaluate_model(
            model,
            env,
            command=command_line(),
            engine=chosen_engine(given),
            check=lambda about, length: check_gates(gates, about.observation_names, length),
            overwrite=force,
            progress=display,
            **options,
        )
    if plot is not None:
        from imagine_cli.plots.plot import plot_evaluation

        if plot_evaluation(found, plot, overwrite=force) and not quiet:
            warning_line("some models or dimensions are left out of the picture for lack of space")
    verdicts = judge(gates, found)
    if junit is not None:
        from imagine_cli.evaluation.junit import write_junit

        write_junit(verdicts, junit, overwrite=force)
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as json_text

        document = {**found.as_dict(), "gates": [verdict.as_dict() for verdict in verdicts]}
        print(json_text(document))
    else:
        from imagine_cli.cli.evaluate_tables import print_evaluation

        print_evaluation(found, dimensions=dimensions)
    for verdict in verdicts:
        if not verdict.passed or not (verdict.decided or quiet):
            what = "undecided" if verdict.passed else "failed"
            print(f"imagine: gate {what}: {printable(verdict.line())}", file=sys.stderr)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)
