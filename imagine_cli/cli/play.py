"""``imagine play``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.cli.options import (
    Compile,
    Debug,
    Device,
    EnvIdOrModels,
    EnvKwargs,
    Force,
    Json,
    Policy,
    Quiet,
    Reward,
    Seed,
    TrustPickle,
    check_output,
    check_there,
    parse_env_kwargs,
)
from imagine_cli.cli.settings import command_line
from imagine_cli.printable import printable
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    from imagine_cli.evaluation.play import Played


def play(
    policy: Policy,
    env: EnvIdOrModels = None,
    trajectories: Annotated[
        int, typer.Option("--trajectories", "-n", min=1, help="How many episodes.")
    ] = 100,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Most steps of one.", show_default="the env's own end"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="A world model: planners plan with it, and the return that it imagines is shown "
            "beside the real one.",
        ),
    ] = None,
    reward: Reward = None,
    propagation: Annotated[
        str | None,
        typer.Option(
            "--propagation",
            help="As imagine rollout takes it.",
            show_default="the model's",
            autocompletion=names_of("PROPAGATIONS"),
        ),
    ] = None,
    seed: Seed = 0,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE.H5", help="Write the episodes to a rollout file."),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            metavar="FILE",
            help='Draw the first episode: a .gif or .mp4 file. Needs the extra "video".',
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_pickle: TrustPickle = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Play a policy in the real env: returns and lengths of its episodes.

    Intervals are of the mean, 95 %, by its standard error. The same seed gives the same
    episodes; they are others than those that imagine fit with that seed was fitted to.

    Example: imagine play --env Pendulum-v1 --policy policy.pt -n 100

    Example: imagine play --env Pendulum-v1 --policy icem --model wm.pt -n 5 --record real.h5
    """
    import tempfile

    from imagine_cli.cli.progress import progress

    kwargs = parse_env_kwargs(env_kwarg)
    check_there("world model", model)
    for output in (record, video):
        if output is not None:
            check_output(output, force, model, policy)
    with progress(quiet) as display, tempfile.TemporaryDirectory() as folder:
        display.stage("loading", total=None)
        from imagine_cli.evaluation.play import env_to_play, play_policy

        if video is not None:
            from imagine_cli.video.render import check_video, render_video

            asked = env_to_play(RolloutRequest(env or "", "", kwargs, policy), model)
            env, kwargs = asked.env, dict(asked.env_kwargs)
            check_video(env, kwargs, video)
        recorded = record or (Path(folder) / "real.h5" if video is not None else None)
        found = play_policy(
            env, policy, trajectories=trajectories, steps=steps, model=model, record=recorded,
            overwrite=force, trust_pickle=trust_pickle, progress=display, reward=reward,
            propagation=propagation, seed=seed, env_kwargs=kwargs, device=device,
            compiled=compiled, command=command_line(),
        )  # fmt: skip
        if video is not None:
            assert recorded is not None
            render_video(
                recorded, video, env_id=env, env_kwargs=kwargs, overwrite=force, progress=display
            )
            display.finish()
    _answer(found, as_json=as_json)


def _answer(found: Played, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(found.as_dict(), indent=2))
        return
    from imagine_cli.evaluation.intervals import mean_and_error

    rows = [("return", found.returns), ("length", found.lengths)]
    if found.imagined is not None:
        rows.append(("imagined return", found.imagined))
    print(printable(f"{len(found.returns)} episodes of {found.env_id} by {found.policy}"))
    for name, values in rows:
        mean, error = mean_and_error(values)
        interval = "" if error != error else f" ± {error:.3g}"
        print(f"  {name:<15}  {mean:.6g}{interval}  ({values.min():.6g} to {values.max():.6g})")
