"""``imagine evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.options import (
    Compile,
    Debug,
    EnvKwargs,
    Force,
    Json,
    Members,
    Particles,
    Quiet,
    Resample,
    Seed,
    check_output,
    parse_env_kwargs,
)

if TYPE_CHECKING:
    from imagine_cli.evaluation import Evaluation
    from imagine_cli.evaluation.gates import Verdict

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[
        list[Path],
        typer.Option("--model", help="World-model checkpoint (.pt); repeat it to rank several."),
    ],
    env: Annotated[
        str | None,
        typer.Option(
            "--env", help="Gymnasium env id; module:Id imports the module first. Else --real's."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Longest horizon.", show_default="50, or --real's"),
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
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            help="What acts in the real env: random, zero, constant:0.5,-1, a .npy, .csv or "
            "rollout .h5 file of actions, or a policy checkpoint .pt.",
        ),
    ] = "random",
    propagation: Annotated[
        list[str] | None,
        typer.Option(
            "--propagation",
            help="How beliefs go through the models: moments, linearized, unscented or particles; "
            "repeat it to rank several.",
            show_default="each model's own",
        ),
    ] = None,
    particles: Particles = None,
    members: Members = None,
    resample: Resample = False,
    seed: Seed = 0,
    real: Annotated[
        Path | None, typer.Option("--real", help="A recorded real run, in place of running one.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write the real run to this .h5 file.")
    ] = None,
    imagined: Annotated[
        Path | None, typer.Option("--imagined", help="Write the imagined rollout to this .h5 file.")
    ] = None,
    env_kwarg: EnvKwargs = None,
    dimensions: Annotated[
        bool, typer.Option("--dimensions", "-d", help="A table for each dimension too.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="GATE",
            help="Exit with status 1 where this holds, as in 'rmse@10 > 0.2', "
            "'coverage95@25 < 0.9' or 'bias[theta_dot]@last > 0.1'; repeatable. There is rmse, "
            "bias, nll, crps, energy, coverage50/90/95, mahalanobis50/90/95, sharpness and "
            "calibration.",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="REPORT.XML", help="Write the gates as a JUnit report."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the calibration curves: a .png, .svg, .pdf or "
            '.html file. Needs the extra "plot".',
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    compiled: Compile = False,
    trust_pickle: Annotated[
        bool,
        typer.Option("--trust-pickle", help="Load pickled models; that can run any code in them."),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score what a world model imagines against what really happens.

    Runs the real env under a policy, imagines the same starts and actions,
    and tells for each horizon how wrong the means are, whether the intervals
    are honest, and until which step the model is better than no change and
    than a linear model. Models and propagations are ranked in one table by
    CRPS over standard deviation, averaged: 0 is perfect. Needs the extra
    "evaluate".

    Example: imagine evaluate --env Pendulum-v1 --model wm.pt --steps 50 -n 100

    Example: imagine evaluate --env Pendulum-v1 --model wm.pt --fail-if 'rmse@10 > 0.2'

    Example: imagine evaluate --env Pendulum-v1 --model a.pt --model b.pt --record real.h5

    Example: imagine evaluate --model wm.pt --real real.h5 --propagation linearized
    """
    from imagine_cli.errors import InputError

    if junit is not None and not fail_if:
        raise InputError("--junit reports gates and there are none; give --fail-if")
    for output in (record, imagined, junit, plot):
        if output is not None:
            check_output(output, force, policy, real, *model)
    kwargs = parse_env_kwargs(env_kwarg)
    if plot is not None:
        from imagine_cli.plots.fan_chart import require_matplotlib
        from imagine_cli.plots.picture import check_picture

        check_picture(plot, force)
        require_matplotlib()

    import shlex

    from imagine_cli.cli.progress import progress
    from imagine_cli.cli.warnings import as_lines

    with as_lines(), progress(quiet) as display:
        display.stage("loading and compiling" if compiled else "loading", total=None)
        from imagine_cli.evaluation import evaluate_model
        from imagine_cli.evaluation.gates import check_gates, judge, parse_gate

        gates = [parse_gate(text) for text in fail_if or []]
        found = evaluate_model(
            list(model),
            env,
            steps=steps,
            trajectories=trajectories,
            policy=policy,
            propagation=propagation or None,
            particles=particles,
            members=members,
            resample=resample,
            seed=seed,
            env_kwargs=kwargs,
            real=real,
            record=record,
            imagined=imagined,
            device=device,
            compiled=compiled,
            overwrite=force,
            trust_pickle=trust_pickle,
            command=shlex.join(["imagine", *sys.argv[1:]]),
            check=lambda about, length: check_gates(gates, about.observation_names, length),
            progress=display,
        )
    if plot is not None:
        from imagine_cli.plots.calibration import plot_evaluation

        if plot_evaluation(found, plot, overwrite=force) and not quiet:
            from imagine_cli.cli.console import warning_line

            warning_line("some models or dimensions are left out of the picture for want of room")
    verdicts = judge(gates, found)
    if junit is not None:
        from imagine_cli.evaluation.junit import write_junit

        write_junit(verdicts, junit)
    _answer(found, verdicts, as_json=as_json, dimensions=dimensions)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(f"imagine: gate failed: {verdict.line()}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _answer(found: Evaluation, verdicts: list[Verdict], *, as_json: bool, dimensions: bool) -> None:
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as json_text

        document = {**found.as_dict(), "gates": [verdict.as_dict() for verdict in verdicts]}
        print(json_text(document))
        return
    from imagine_cli.cli.evaluate_tables import print_evaluation

    print_evaluation(found, dimensions=dimensions)
