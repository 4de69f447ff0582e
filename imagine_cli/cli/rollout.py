"""``imagine rollout``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagine_cli.cli.completion import names_of
from imagine_cli.cli.engine_options import (
    Address,
    EngineName,
    GpusPerWorker,
    Part,
    TimeLimit,
    Workers,
    chosen_engine,
    parse_part,
)
from imagine_cli.cli.options import (
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
    Reward,
    Seed,
    TrustPickle,
    check_output,
    check_there,
    parse_env_kwargs,
)
from imagine_cli.cli.progress import progress
from imagine_cli.cli.rollout_estimate import print_estimate
from imagine_cli.cli.rollout_progress import Teller, growing_panel
from imagine_cli.cli.settings import command_line
from imagine_cli.cli.stopping import stopping
from imagine_cli.errors import InputError
from imagine_cli.printable import printable
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    from imagine_cli.rollout import RolloutSummary


def rollout(
    model: Annotated[
        Path,
        typer.Option(
            "--model", help="World model: a .pt of imagine fit, a .pt2, mbrl-lib's folder."
        ),
    ],
    env: EnvIdOrModels = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of each trajectory.")] = 50,
    trajectories: Annotated[
        int, typer.Option("--trajectories", "-n", min=1, help="How many trajectories.")
    ] = 1,
    policy: Policy = "random",
    open_loop: Annotated[
        bool,
        typer.Option(
            "--open-loop",
            help="The policy sees the mean of a belief alone; else it acts at each particle, or "
            "on mean and covariance.",
        ),
    ] = False,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="reset (each trajectory at its own real reset), belief (a Gaussian fitted to "
            "many resets), 'mean=1,0,0;var=.1,.1,.1', or a .npy, .csv, .npz or rollout .h5 file.",
        ),
    ] = "reset",
    propagation: Annotated[
        str | None,
        typer.Option(
            "--propagation",
            help="How a belief goes through the model: moments (exact mean and covariance), "
            "linearized, unscented, or particles; imagine inspect says which ones fit.",
            show_default="the model's",
            autocompletion=names_of("PROPAGATIONS"),
        ),
    ] = None,
    particles: Particles = None,
    members: Members = None,
    resample: Resample = False,
    save_particles: Annotated[
        bool, typer.Option("--save-particles", help="Write every particle to the file too.")
    ] = False,
    reward: Reward = None,
    seed: Seed = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The rollout file to write.")
    ] = Path("rollout.h5"),
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            metavar="FILE",
            help="Draw the env set to the first trajectory's means, beside the real run of the "
            'same actions: a .gif or .mp4 file. Needs the extra "video".',
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="On a terminal, a fan chart that grows while the rollout runs. Needs the extra "
            '"plot".',
        ),
    ] = False,
    env_kwarg: EnvKwargs = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="float32 or float64.", show_default="the model's"),
    ] = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_pickle: TrustPickle = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from OUTPUT.partial, which an interrupted rollout with the same arguments "
            "left; the file becomes the same to the byte.",
        ),
    ] = False,
    on_nonfinite: Annotated[
        str,
        typer.Option(
            "--on-nonfinite",
            metavar="stop|mask",
            help="A belief that is not finite is an error (stop), or the rest of its trajectory "
            "is NaN and the others go on (mask).",
        ),
    ] = "stop",
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    gpus_per_worker: GpusPerWorker = None,
    time_limit: TimeLimit = None,
    shard: Part = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Imagine a little of it for some seconds, write nothing, and say about how long "
            "all of it takes by --workers, in how much memory, and how large its file is.",
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Imagine trajectories with a world model and write them to an HDF5 file.

    The file holds mean and covariance of every imagined observation. Its path goes to stdout.

    Example: imagine rollout --env Pendulum-v1 --model wm.pt --steps 50

    Example: imagine rollout --env Pendulum-v1 --model wm.pt --video pendulum.gif
    """
    options = {**locals(), "model": str(model), "env_kwargs": parse_env_kwargs(env_kwarg)}
    request = RolloutRequest.of(options)
    check_there("world model", model)
    if estimate:
        print_estimate(request, 1 if workers is None else workers, trust_pickle, as_json=as_json)
        return
    check_output(output, force, model, policy, start)
    if video is not None:
        check_output(video, force, model, policy, start, output)
    part = parse_part(shard)
    if part and video:
        raise InputError("--video is of a whole rollout, and --shard makes none")

    panel = growing_panel(steps) if watch and not quiet else None
    with stopping(output) as stop, progress(quiet, panel) as display:
        display.stage("loading and compiling" if compiled else "loading", total=None)
        from imagine_cli.rollout import run_rollout
        from imagine_cli.rollout.prepare import with_env

        request = with_env(request)
        if panel is not None:
            panel.env_id = request.env
        chosen = chosen_engine(options)
        if video is not None:
            from imagine_cli.video.render import check_video, render_video

            check_video(request.env, dict(request.env_kwargs), video)
        teller = Teller(display, steps, trajectories, panel)
        summary = run_rollout(
            request,
            output=output,
            overwrite=force,
            resume=resume,
            trust_pickle=trust_pickle,
            engine=chosen,
            part=part,
            command=command_line(),
            on_step=None if quiet else teller,
            on_block=stop.look,
            on_tally=None if quiet else teller.tally,
        )
        teller.finish()
        stop.done(output)
        if video is not None:
            render_video(
                output, video, env_id=request.env, env_kwargs=dict(request.env_kwargs),
                overwrite=force, progress=display,
            )  # fmt: skip
            display.finish()
    _answer(summary, as_json=as_json, quiet=quiet)


def _answer(summary: RolloutSummary, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        import json

        print(json.dumps(summary.as_dict(), indent=2))
        return
    print(printable(str(summary.path)))
    if quiet:
        return
    from imagine_cli.cli.console import messages
    from imagine_cli.cli.tables import chosen

    many = f"{summary.trajectories} trajectories" if summary.trajectories > 1 else "1 trajectory"
    lines = [
        f"{name} imagined {tally.shards} shards in {tally.seconds:.2g} s"
        for name, tally in sorted(summary.workers.items())
    ]
    if summary.lost:
        lines.append(f"{summary.lost} tasks lost their worker, and were given to another")
    lines.append(f"{many} of {summary.steps} steps of {summary.env_id} in {summary.seconds:.2g} s")
    if summary.returns is not None and len(summary.returns):
        spread = f", sd {summary.returns.std():.4g}" if len(summary.returns) > 1 else ""
        lines.append(f"  return {summary.returns.mean():.6g}{spread}")
    spreads = list(zip(summary.observation_names, summary.start_sd, summary.end_sd, strict=True))
    shown, caption = chosen(summary.end_sd.tolist(), "the least sure")
    width = max(len(summary.observation_names[k]) for k in shown)
    for name, before, after in (spreads[k] for k in shown):
        end = "none got to the end" if after != after else f"{after:.3g}"
        lines.append(f"  {name:<{width}}  sd {before:.3g} -> {end}")
    if caption:
        lines.append(f"  {caption}")
    lines.append(f"look at it with: imagine inspect {summary.path}")
    messages().print("\n".join(map(printable, lines)), markup=False, soft_wrap=True)
