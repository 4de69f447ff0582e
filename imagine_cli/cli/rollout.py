"""``imagine rollout``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagine_cli.cli.options import (
    Debug,
    EnvId,
    EnvKwargs,
    Force,
    Json,
    Quiet,
    Seed,
    check_output,
    parse_env_kwargs,
)

if TYPE_CHECKING:
    from imagine_cli.cli.progress import Display
    from imagine_cli.rollout import RolloutSummary

__all__ = ["rollout"]


def rollout(
    env: EnvId,
    model: Annotated[
        Path,
        typer.Option(
            "--model", help="World model: a .pt of imagine fit, a .pt2, mbrl-lib's folder."
        ),
    ],
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of each trajectory.")] = 50,
    trajectories: Annotated[
        int, typer.Option("--trajectories", "-n", min=1, help="How many trajectories.")
    ] = 1,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            help="random, zero, constant:0.5,-1, a .npy, .csv or rollout .h5 file of actions to "
            "replay, or a policy checkpoint .pt.",
        ),
    ] = "random",
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
        ),
    ] = None,
    particles: Annotated[
        int | None,
        typer.Option(
            "--particles", min=2, help="Particles of each trajectory.", show_default="100"
        ),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            "--members",
            help="Which member of an ensemble, or which function drawn from a Gaussian process, "
            "a particle follows: random (another one at each step) or fixed (one for life).",
            show_default="fixed",
        ),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option("--resample", help="Draw the particles anew from a Gaussian at each step."),
    ] = False,
    save_particles: Annotated[
        bool, typer.Option("--save-particles", help="Write every particle to the file too.")
    ] = False,
    seed: Seed = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The rollout file to write.")
    ] = Path("rollout.h5"),
    env_kwarg: EnvKwargs = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="float32 or float64.", show_default="the model's"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    trust_pickle: Annotated[
        bool,
        typer.Option("--trust-pickle", help="Load a pickled model; that can run any code in it."),
    ] = False,
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
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Imagine trajectories with a world model and write them to an HDF5 file.

    The file holds mean and covariance of every imagined observation. Its path goes to stdout.

    Example: imagine rollout --env Pendulum-v1 --model wm.pt --steps 50
    """
    check_output(output, force)
    kwargs = parse_env_kwargs(env_kwarg)

    import shlex

    from imagine_cli.cli.progress import progress
    from imagine_cli.cli.stopping import stopping
    from imagine_cli.cli.warnings import as_lines

    with stopping(output) as stop, as_lines(), progress(quiet) as display:
        display.stage("loading", total=None)
        from imagine_cli.rollout import run_rollout

        watch = _Watch(display, steps, trajectories)
        summary = run_rollout(
            env,
            model,
            steps=steps,
            trajectories=trajectories,
            policy=policy,
            start=start,
            propagation=propagation,
            particles=particles,
            members=members,
            resample=resample,
            save_particles=save_particles,
            seed=seed,
            output=output,
            env_kwargs=kwargs,
            dtype=dtype,
            device=device,
            overwrite=force,
            resume=resume,
            on_nonfinite=on_nonfinite,
            trust_pickle=trust_pickle,
            command=shlex.join(["imagine", *sys.argv[1:]]),
            on_step=None if quiet else watch,
            on_block=stop.look,
        )
        watch.finish()
    _answer(summary, as_json=as_json, quiet=quiet)


class _Watch:
    """Tells the display, at most ten times a second, how far the rollout is and how sure."""

    def __init__(self, display: Display, steps: int, trajectories: int) -> None:
        self._display, self._steps, self._trajectories = display, steps, trajectories
        self._done = self._told = 0
        self._next = 0.0
        self._var: Any = None

    def __call__(self, trajectories: int, var: Any) -> None:
        if self._done == 0:
            self._display.stage("imagining", total=self._steps * self._trajectories)
        self._done += trajectories
        self._var = var
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.1
            self._tell()

    def finish(self) -> None:
        if self._done:
            self._tell()
        self._display.finish()

    def _tell(self) -> None:
        finished = self._done // self._steps
        sd = self._var.diagonal(dim1=-2, dim2=-1).mean(0).sqrt().tolist()
        shown = " ".join(f"{value:.2g}" for value in sd[:4]) + (" ..." if len(sd) > 4 else "")
        note = f"{finished}/{self._trajectories} trajectories  sd {shown}"
        self._display.advance(self._done - self._told, note=note)
        self._told = self._done


def _answer(summary: RolloutSummary, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        import json

        print(json.dumps(summary.as_dict(), indent=2))
        return
    print(summary.path)
    if quiet:
        return
    from imagine_cli.cli.console import messages

    many = f"{summary.trajectories} trajectories" if summary.trajectories > 1 else "1 trajectory"
    lines = [f"{many} of {summary.steps} steps of {summary.env_id} in {summary.seconds:.2g} s"]
    width = max(map(len, summary.observation_names))
    for name, before, after in zip(
        summary.observation_names, summary.start_sd, summary.end_sd, strict=True
    ):
        lines.append(f"  {name:<{width}}  sd {before:.3g} -> {after:.3g}")
    lines.append(f"look at it with: imagine inspect {summary.path}")
    messages().print("\n".join(lines), markup=False, soft_wrap=True)
