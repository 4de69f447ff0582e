"""``imagine evaluate`` as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, describe, env_named, make_env
from imagine_cli.errors import InputError
from imagine_cli.evaluation.baselines import linear_gaussian, no_change
from imagine_cli.evaluation.imagining import LoadedModel, imagine_run
from imagine_cli.evaluation.real import (
    RealRun,
    evaluation_seed,
    read_real,
    run_real,
    write_real,
)
from imagine_cli.evaluation.report import Evaluation, ModelReport, compare_to
from imagine_cli.evaluation.scores import require_scores
from imagine_cli.evaluation.ways import find_ways
from imagine_cli.progress import Progress, Silent
from imagine_cli.recording.provenance import Provenance

if TYPE_CHECKING:
    import torch

    from imagine_cli.propagation import Propagation

__all__ = ["Evaluation", "evaluate_model"]


def evaluate_model(
    models: str | Path | torch.nn.Module | Sequence[str | Path | torch.nn.Module],
    env_id: str | None = None,
    *,
    steps: int | None = None,
    trajectories: int | None = None,
    policy: str = "random",
    propagation: str | Propagation | Sequence[str | Propagation] | None = None,
    particles: int | None = None,
    members: str | None = None,
    resample: bool = False,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    real: str | Path | None = None,
    record: str | Path | None = None,
    imagined: str | Path | None = None,
    device: str = "cpu",
    compiled: bool = False,
    overwrite: bool = False,
    trust_pickle: bool = False,
    command: str = "imagine_cli.evaluate_model",
    check: Callable[[EnvDescription, int], None] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run the real env, imagine the same starts and actions, and score what was imagined.

    Args:
        models: one or several checkpoints, or TensorDictModules.
        env_id: a Gymnasium env id; may be left out with ``real``, whose file says it.
        steps: T; 50, or all that ``real`` has.
        trajectories: B; 100, or all that ``real`` has.
        policy: what acts in the real env, as ``make_policy`` takes it.
        propagation: one or several ways for a belief to go through the models, as
            :func:`~imagine_cli.run_rollout` takes them; each model's own default if None. Every
            model is imagined with every one that fits it; of the others a warning tells.
        particles, members, resample: of the propagation ``"particles"``.
        seed: of the real run; ``imagine fit`` with the same one saw other episodes.
        env_kwargs: arguments for the env.
        real: a real run that ``record`` wrote, in place of running the env.
        record: where the real run goes, as a rollout file of zero variance.
        imagined: where the imagined rollout goes; for one model and one propagation.
        device: where the models compute.
        compiled: predict by compiled functions, see :func:`imagine_cli.run_rollout`.
        overwrite: replace files that are there.
        trust_pickle: load pickled models, running whatever code they name.
        command: what the files say made them.
        check: called with the env and T before anything runs; may raise.
        progress: told of what goes on.

    Raises:
        InputError: arguments or files that can't be used, or the extra "evaluate" is missing.
        ImagineError: the env or a model failed.
    """
    require_scores()
    given: list[Any] = list(models) if isinstance(models, list | tuple) else [models]
    asked: list[Any] = list(propagation) if isinstance(propagation, list | tuple) else [propagation]
    if not given:
        raise InputError("there is no model to evaluate; give at least one --model")
    if imagined is not None and len(given) * len(asked) > 1:
        raise InputError(
            "--imagined is for one model and one propagation; evaluate them one after another"
        )
    if imagined is not None and record is not None and Path(imagined) == Path(record):
        raise InputError(f"--record and --imagined can't both write {record}")
    if real is not None and record is not None:
        raise InputError("--real reads a real run and --record writes one; give one of them")
    for name, value, least in (("steps", steps, 1), ("trajectories", trajectories, 1),
                               ("seed", seed, 0)):  # fmt: skip
        if value is not None and value < least:
            raise InputError(f"--{name} is {value}; it must be {least} or more")
    progress = progress or Silent()
    run, attributes = (None, {}) if real is None else read_real(real)
    known = Provenance(attributes)
    env_id, env_kwargs = _which_env(env_id, env_kwargs, real, known)
    env = make_env(env_id, env_kwargs)
    with ExitStack() as stack:
        stack.callback(env.close)
        about = describe(env, env_kwargs)
        if run is not None:
            run = _cut(run, about, trajectories, steps, real)
            policy, seed = known.policy or "not said", known.seed or 0
        length = run.steps if run is not None else steps or 50
        if check is not None:
            check(about, length)
        loaded = _load_all(given, about, trust_pickle, device, compiled)
        ways = find_ways(
            loaded, about, asked or [None], particles=particles, members=members, resample=resample
        )
        if run is None:
            run = _run(env, about, policy, length, trajectories or 100, seed, progress)
            if record is not None:
                write_real(
                    run, record, about, policy=policy, seed=seed, command=command,
                    overwrite=overwrite,
                )  # fmt: skip
        baselines = {"no change": no_change(run), "linear-Gaussian": linear_gaussian(run)}
        scale = np.nanstd(run.observations.reshape(-1, about.observation_size), axis=0)
        reports = []
        for model, way in ways:
            writer = None
            if imagined is not None:
                writer = (imagined, policy, command, overwrite)
            keeper, used, seconds = imagine_run(
                model, way, env, about, run, seed, device, writer, progress
            )
            several = sum(other.model.name == model.name for other in ways) > 1
            scores = keeper.scores()
            reports.append(
                ModelReport(
                    name=model.name,
                    label=f"{model.name}, {used}" if several else model.name,
                    kind=str(getattr(model.module, "kind", "module")),
                    propagation=used,
                    sha256=model.digest,
                    scores=scores,
                    against={
                        name: compare_to(scores, baseline, scale)
                        for name, baseline in baselines.items()
                    },
                    score=scores.mean_scaled_crps(scale),
                    seconds=seconds,
                )
            )
        progress.finish()
    return Evaluation(
        env_id=about.id,
        env_kwargs=about.kwargs,
        policy=policy,
        seed=seed,
        steps=run.steps,
        trajectories=run.trajectories,
        observation_names=about.observation_names,
        lengths=run.lengths,
        models=sorted(reports, key=lambda report: (np.isnan(report.score), report.score)),
        baselines=baselines,
    )


def _which_env(
    env_id: str | None,
    env_kwargs: dict[str, Any] | None,
    real: Any,
    known: Provenance,
) -> tuple[str, dict[str, Any]]:
    """The env's id and arguments, from the options or from the real file."""
    if real is None:
        if env_id is None:
            raise InputError("no env: give --env, or --real with a recorded real run")
        return env_id, dict(env_kwargs or {})
    if known.env_id:
        env_id = env_named(known.env_id, real, env_id)
    if env_id is None:
        raise InputError(f"{real} does not say of which env it is; give --env")
    return env_id, dict(env_kwargs or known.env_kwargs or {})


def _cut(
    run: RealRun, about: EnvDescription, trajectories: int | None, steps: int | None, path: Any
) -> RealRun:
    sizes = (run.observations.shape[2], run.actions.shape[2])
    if sizes != (about.observation_size, about.action_size):
        raise InputError(
            f"{path} has D = {sizes[0]} and F = {sizes[1]}, but {about.id} has "
            f"{about.observation_size} and {about.action_size}"
        )
    for name, wanted, there in (
        ("trajectories", trajectories, run.trajectories), ("steps", steps, run.steps),
    ):  # fmt: skip
        if wanted is not None and wanted > there:
            raise InputError(f"{path} has {there} {name} and --{name} asks for {wanted}")
    return run.first(trajectories or run.trajectories, steps or run.steps)


def _load_all(
    given: Sequence[Any],
    about: EnvDescription,
    trust_pickle: bool,
    device: str,
    compiled: bool,
) -> list[LoadedModel]:
    from imagine_cli.rollout.loading import device_named, load_for

    place = device_named(device)
    loaded: list[LoadedModel] = []
    for model in given:
        module, path, digest = load_for(model, about, trust_pickle, place, compiled)
        name = path or str(getattr(module, "kind", type(module).__name__))
        taken = sum(other.name == name or other.name.startswith(f"{name} (") for other in loaded)
        loaded.append(LoadedModel(f"{name} ({taken + 1})" if taken else name, module, path, digest))
    return loaded


def _run(
    env: Any, about: EnvDescription, policy: str, steps: int, trajectories: int, seed: int,
    progress: Progress,
) -> RealRun:  # fmt: skip
    from imagine_cli.policies import make_policy

    own = evaluation_seed(seed)
    acting = make_policy(policy, about, seed=own)
    acting.check(steps, trajectories)
    return run_real(
        env, acting, steps=steps, trajectories=trajectories, seed=own, progress=progress
    )
