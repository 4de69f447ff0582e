"""``imagine optimize``: search for a policy by gradients through imagination, and save it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.cli.options import (
    Compile,
    Debug,
    EnvIdOrModels,
    EnvKwargs,
    Force,
    Json,
    Members,
    Particles,
    Quiet,
    Reward,
    Seed,
    check_output,
    check_there,
    parse_env_kwargs,
)

if TYPE_CHECKING:
    from imagine_cli.search.optimize import OptimizedPolicy


def optimize(
    model: Annotated[
        Path,
        typer.Option(
            "--model", help="World model: a .pt of imagine fit, a .pt2, mbrl-lib's folder."
        ),
    ],
    env: EnvIdOrModels = None,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            help="What to search for: linear, rbf:50 (so many basis functions), mlp:64,64 (layers "
            "of these sizes), or a policy .pt to go on from.",
        ),
    ] = "rbf:50",
    reward: Reward = None,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="Where imagination begins: belief (a Gaussian fitted to many resets), reset "
            "(each trajectory at its own real reset), 'mean=1,0,0;var=.1,.1,.1', or a file.",
        ),
    ] = "belief",
    horizon: Annotated[int, typer.Option("--horizon", min=1, help="Steps to imagine.")] = 40,
    trajectories: Annotated[
        int | None,
        typer.Option(
            "--trajectories",
            "-n",
            min=1,
            help="Initial beliefs to take the mean over.",
            show_default="1; 16 with --start reset",
        ),
    ] = None,
    propagation: Annotated[
        str | None,
        typer.Option(
            "--propagation",
            help="How a belief goes through the model: moments (as in PILCO), linearized, "
            "unscented, or particles (as in MC-PILCO).",
            show_default="the model's",
            autocompletion=names_of("PROPAGATIONS"),
        ),
    ] = None,
    particles: Particles = None,
    members: Members = None,
    method: Annotated[
        str, typer.Option("--method", metavar="lbfgs|adam", help="The optimiser.")
    ] = "lbfgs",
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="The most it may take.")
    ] = 100,
    restarts: Annotated[
        int, typer.Option("--restarts", min=1, help="Initial policies; the best return wins.")
    ] = 1,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Of --method adam.")
    ] = 0.01,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The policy to write.")] = Path(
        "policy.pt"
    ),
    env_kwarg: EnvKwargs = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="float32 or float64.", show_default="the model's"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    compiled: Compile = False,
    trust_pickle: Annotated[
        bool,
        typer.Option("--trust-pickle", help="Load a pickled model; that can run any code in it."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from OUTPUT.partial, which an interrupted search with the same arguments "
            "left; the policy becomes the same.",
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for a policy by gradients of its return in imagination, and save it.

    The world model is asked and the real env never stepped. How the return and its gradient went
    is in the policy file, and with --json on stdout. L-BFGS needs the extra "search".

    Example: imagine optimize --env Pendulum-v1 --model wm.pt --reward env --policy rbf:50

    Example: imagine optimize --env Pendulum-v1 --model wm.pt --reward env --propagation particles
    """
    check_there("world model", model)
    check_output(output, force, model, start, None if force else policy)
    kwargs = parse_env_kwargs(env_kwarg)

    import shlex

    from imagine_cli.cli.progress import progress

    with progress(quiet) as display:
        display.stage("loading and compiling" if compiled else "loading")
        from imagine_cli.search.optimize import optimize_policy

        optimized = optimize_policy(
            env or "",
            model,
            policy=policy,
            start=start,
            horizon=horizon,
            trajectories=trajectories,
            method=method,
            iterations=iterations,
            restarts=restarts,
            learning_rate=learning_rate,
            output=output,
            overwrite=force,
            resume=resume,
            trust_pickle=trust_pickle,
            progress=display,
            command=shlex.join(["imagine", *sys.argv[1:]]),
            env_kwargs=kwargs,
            reward=reward,
            propagation=propagation,
            particles=particles,
            members=members,
            seed=seed,
            dtype=dtype,
            device=device,
            compiled=compiled,
        )
    _answer(optimized, as_json=as_json, quiet=quiet)


def _answer(optimized: OptimizedPolicy, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as to_json

        print(to_json(optimized.as_dict()))
        return
    print(optimized.path)
    if quiet:
        return
    from imagine_cli.cli.console import messages

    made = optimized.metadata
    messages().print(
        f"imagined return over {made['horizon']} steps: {optimized.initial_return:.5g} -> "
        f"{optimized.imagined_return:.5g}, {optimized.mean_reward:.4g} a step "
        f"({made['evaluations']} evaluations in {made['duration_seconds']:.2g} s)",
        markup=False,
        soft_wrap=True,
    )
