"""``imagine learn``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.cli.engine_options import (
    Address,
    EngineName,
    GpusPerWorker,
    Workers,
    chosen_engine,
)
from imagine_cli.cli.options import (
    Debug,
    EnvId,
    EnvKwargs,
    Json,
    Quiet,
    Seed,
    parse_env_kwargs,
)
from imagine_cli.cli.settings import command_line
from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.search.learn import Learned


def learn(
    env: EnvId,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that everything goes to.")
    ] = Path("run"),
    method: Annotated[
        str,
        typer.Option(
            "--method",
            autocompletion=names_of("METHODS"),
            help="pilco (Gaussian process, moments, RBF policy), mc-pilco (the same by particles) "
            "or pets (ensemble, planned by iCEM).",
        ),
    ] = "pilco",
    reward: Annotated[
        str, typer.Option("--reward", help="What is maximised: as imagine rollout takes it.")
    ] = "env",
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="linear, rbf:50, mlp:64,64; of pets a planner, icem:horizon=20,...",
            show_default="the method's",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Most rounds.")] = 10,
    random_steps: Annotated[
        int, typer.Option("--random-steps", min=50, help="Real random steps before the first.")
    ] = 200,
    trial_steps: Annotated[
        int | None,
        typer.Option(
            "--trial-steps",
            min=1,
            help="Most real steps of a round's trial.",
            show_default="the env's own end",
        ),
    ] = None,
    horizon: Annotated[
        int, typer.Option("--horizon", min=1, help="Steps imagined in the search.")
    ] = 40,
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="Most iterations of a search.")
    ] = 100,
    start: Annotated[
        str, typer.Option("--start", help="Initial beliefs of the search: as imagine rollout.")
    ] = "belief",
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="'return >= NUMBER'", help="When a trial is enough."),
    ] = None,
    fit: Annotated[
        list[str] | None,
        typer.Option(
            "--fit",
            metavar="KEY=NUMBER",
            help="Of the world model, as imagine fit takes it: hidden=64; repeatable.",
        ),
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=1,
            help="So many runs, from --seed on, each in its OUTPUT/seed-K.",
        ),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    gpus_per_worker: GpusPerWorker = None,
    env_kwarg: EnvKwargs = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, killed or ended.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            metavar="tensorboard",
            help='The numbers of each round for TensorBoard too. Needs the extra "tensorboard".',
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn a policy for a real env from few of its steps.

    Random data, then rounds: fit a world model, improve the policy in imagination, try it in the
    real env and add that to the data. Each round's data, model and policy lie in the folder.
    Exit status 1 where --until is not reached.

    Example: imagine learn --env InvertedPendulum-v5 --reward 'saturating:target=0,0,0,0;width=1'

    Example: imagine learn --env Pendulum-v1 --method pets --rounds 5 --until 'return >= -200'
    """
    given = locals()
    from imagine_cli.cli.progress import progress

    if seeds is None and engine != "local":
        raise InputError(
            "the rounds of a run follow from each other, so that --engine has seeds alone to "
            "divide; give --seeds"
        )
    with progress(quiet) as display:
        from imagine_cli.search.learn import learn_policy
        from imagine_cli.search.learn_seeds import learn_seeds

        options: dict[str, Any] = {
            "env_kwargs": parse_env_kwargs(env_kwarg), "resume": resume, "log": log,
            "command": command_line(), "progress": display,
            "method": method, "reward": reward, "policy": policy, "rounds": rounds,
            "random_steps": random_steps, "trial_steps": trial_steps, "horizon": horizon,
            "iterations": iterations, "start": start, "until": until,
            "fit": parse_env_kwargs(fit, "--fit", "hidden=64"),
        }  # fmt: skip
        chosen = chosen_engine(given)
        if seeds is None:
            found = [learn_policy(env, output, seed=seed, **options)]
        else:
            several = range(seed, seed + seeds)
            found = learn_seeds(env, output, seeds=several, engine=chosen, **options)
    if as_json:
        import json

        documents = [one.as_dict() for one in found]
        print(json.dumps(documents[0] if seeds is None else documents, indent=2))
    else:
        for one in found:
            _answer(one)
    if until is not None and not all(one.enough for one in found):
        raise typer.Exit(1)


def _answer(found: Learned) -> None:
    from imagine_cli.cli.console import answers
    from imagine_cli.cli.tables import number_table

    columns = ["round", "real steps", "real return", "length", "imagined return", "seconds"]
    rows = [
        [
            str(one.number), str(one.real_steps), f"{one.real_return:.6g}", str(one.length),
            "" if one.imagined_return is None else f"{one.imagined_return:.6g}",
            f"{one.seconds:.1f}",
        ]
        for one in found.rounds
    ]  # fmt: skip
    answers().print(number_table(columns, rows))
    print(found.folder if found.policy is None else found.policy)
