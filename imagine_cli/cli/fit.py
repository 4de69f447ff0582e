"""``imagine fit``: fit a world model to a real env, or to data of one, and save it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagine_cli.cli.options import (
    Debug,
    EnvKwargs,
    Force,
    Json,
    Quiet,
    Seed,
    check_output,
    parse_env_kwargs,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["fit"]


def fit(
    env: Annotated[
        str | None,
        typer.Option(
            "--env", help="Gymnasium env id; module:Id imports the module first. Else --data's."
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="Recorded transitions in place of running the env: a rollout file of a real run "
            "(imagine evaluate --record), a Minari dataset's folder, or an .npz file with "
            "observations, actions and next_observations; repeatable.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.")] = Path(
        "wm.pt"
    ),
    kind: Annotated[
        str, typer.Option("--kind", help="Kind of world model: gp, sparse-gp, linear or ensemble.")
    ] = "gp",
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=50,
            help="Steps of the real env to fit to and score on; with --data, its first so many.",
            show_default="20000, or all that --data has",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="What acts in the real env: random, zero, constant:0.5,-1, a file of actions "
            "(.npy, .csv, .h5) or a policy checkpoint (.pt).",
            show_default="random",
        ),
    ] = None,
    reward: Annotated[
        bool, typer.Option("--reward", help="Model the reward too (linear, ensemble).")
    ] = False,
    seed: Seed = 0,
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            help="Part of the steps to score on, up to 0.4; as much again sets the variances.",
        ),
    ] = 0.2,
    points: Annotated[
        int | None,
        typer.Option(
            "--points",
            min=2,
            help="gp: training points, chosen far from each other; sparse-gp: inducing points.",
            show_default="300; sparse-gp: 100",
        ),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            "--restarts",
            min=1,
            help="gp: optimisations for each dimension.",
            show_default="3",
        ),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            "--members",
            min=1,
            help="ensemble: networks to train.",
            show_default="7",
        ),
    ] = None,
    elites: Annotated[
        int | None,
        typer.Option(
            "--elites",
            min=1,
            help="ensemble: networks to keep, those that predict best.",
            show_default="5",
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(
            "--hidden",
            min=1,
            help="ensemble: units of each hidden layer.",
            show_default="128",
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers",
            min=1,
            help="ensemble: hidden layers.",
            show_default="3",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="ensemble: most passes over the data.",
            show_default="100",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            help="ensemble: passes without an improvement before it stops.",
            show_default="10",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a world model to a real env, and save it.

    The env runs under a policy, or somebody recorded what it did; part of the steps is fitted to,
    part sets how wide the predictions are, and the rest says how good they are, 1, 5 and 20 steps
    ahead. The kinds gp and sparse-gp need the extra "fit".

    Example: imagine fit --env Pendulum-v1 --output wm.pt

    Example: imagine fit --data real.h5 --kind ensemble --reward
    """
    check_output(output, force, policy, *(data or []))
    kwargs = parse_env_kwargs(env_kwarg)
    options = {
        "points": points, "restarts": restarts, "members": members, "elites": elites,
        "hidden": hidden, "layers": layers, "epochs": epochs, "patience": patience,
    }  # fmt: skip

    from imagine_cli.checkpoint import save_world_model
    from imagine_cli.cli.console import answers, messages
    from imagine_cli.cli.progress import progress
    from imagine_cli.fitting import fit_world_model

    with progress(quiet) as display:
        fitted = fit_world_model(
            env,
            env_kwargs=kwargs,
            data=data,
            kind=kind,
            steps=steps,
            policy=policy,
            reward=reward,
            seed=seed,
            held_out=held_out,
            progress=display,
            **{name: value for name, value in options.items() if value is not None},
        )
    metadata = {**fitted.metadata, "command": _command(fitted.metadata["command"], output)}
    save_world_model(fitted.model, output, env=fitted.env, metadata=metadata, overwrite=force)
    if json:
        from imagine_cli.cli.inspect_document import as_json

        print(as_json({"path": str(output), **metadata}))
        return
    print(output)
    if not quiet:
        scores = metadata["held_out_scores"]
        for number, entry in enumerate(scores["horizons"]["ahead"]):
            if number:
                print()
            answers().print(_scores(entry, scores["observation_names"]))
        for sentence in scores["horizons"]["left_out"]:
            messages().print(sentence)


def _command(command: str, output: Path) -> str:
    import shlex

    return f"{command} --output {shlex.quote(str(output))}"


def _scores(scores: dict[str, Any], names: list[str]) -> Table:
    """So many steps ahead, on transitions held out: each dimension, all, and the reward."""
    from imagine_cli.cli.tables import number_table, plural, significant, times

    others = {"all": scores["overall"], "reward": scores.get("reward")}
    below = {name: some for name, some in others.items() if some is not None}
    columns = [
        [*scores[key], *(some[key] for some in below.values())]
        for key in ("rmse", "nll", "coverage_95")
    ]
    rows = [
        [name, significant(rmse), f"{nll:.2f}", f"{100.0 * covered:.1f} %"]
        for name, rmse, nll, covered in zip([*names, *below], *columns, strict=True)
    ]
    held_out = f"{plural(scores['transitions'], 'step')} held out"
    if scores["steps"] > 1:
        held_out = f"{plural(scores['steps'], 'step')} ahead, {times(scores['transitions'])}"
    return number_table([held_out, "RMSE", "NLL (nats)", "in 95 % interval"], rows)
