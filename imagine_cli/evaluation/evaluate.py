"""``imagine evaluate`` as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, opened_env
from imagine_cli.errors import InputError
from imagine_cli.evaluation.baselines import linear_gaussian, no_change
from imagine_cli.evaluation.candidates import find_candidates
from imagine_cli.evaluation.imagining import Target, imagine_run
from imagine_cli.evaluation.real import (
    RealRun,
    as_real_run,
    evaluation_seed,
    read_real,
    run_real,
    write_real,
)
from imagine_cli.evaluation.report import Evaluation, ModelReport, compare_to
from imagine_cli.evaluation.scores import require_scores
from imagine_cli.progress import Progress, Silent
from imagine_cli.request import RolloutRequest
from imagine_cli.transitions.join import env_of, join

if TYPE_CHECKING:
    import torch

    from imagine_cli.propagation import Propagation
    from imagine_cli.rollout.engine import Engine
    from imagine_cli.rollout.prepare import LoadedModel


def evaluate_model(
    models: str | Path | torch.nn.Module | Sequence[str | Path | torch.nn.Module],
    env_id: str | None = None,
    *,
    steps: int | None = None,
    trajectories: int | None = None,
    propagation: str | Propagation | Sequence[str | Propagation] | None = None,
    real: str | Path | None = None,
    columns: str | None = None,
    record: str | Path | None = None,
    imagined: str | Path | None = None,
    overwrite: bool = False,
    trust_pickle: bool = False,
    engine: str | Engine = "local",
    command: str = "imagine_cli.evaluate_model",
    check: Callable[[EnvDescription, int], None] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Run the real env, imagine from the same states with the same actions, and score that.

    Args:
        models: one or several checkpoints, or TensorDictModules.
        env_id: a Gymnasium env id; else the one that ``real`` says, or the first model's file.
        steps: T; 50, or all that ``real`` has.
        trajectories: B; 100, or all that ``real`` has.
        propagation: one or several propagations, as :func:`~imagine_cli.run_rollout` takes them;
            each model's own default if None. Every model is imagined with every one that fits
            it; of the others a warning tells.
        real: a real run that was recorded, in place of running the env, and which ``columns`` of it
            are what, as :func:`~imagine_cli.fitting.fit_world_model` takes data.
        record: where the real run goes, as a rollout file of zero variance.
        imagined: where the imagined rollout goes; for one model and one propagation.
        overwrite: replace files that are there.
        trust_pickle: load pickled models, running whatever code they name.
        engine: who imagines, as :func:`~imagine_cli.run_rollout` takes it.
        command: what the files say made them.
        check: called with the env and T before anything runs; may raise.
        progress: told of what goes on.
        **options: ``env_kwargs``, ``policy`` (what acts in the real env), ``seed`` (of the real
            run; ``imagine fit`` with the same one saw other episodes), ``device``, ``compiled``,
            and ``particles``, ``members``, ``resample`` of the propagation ``"particles"``: as
            :class:`~imagine_cli.RolloutRequest` has them.

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
    if real is None and columns is not None:
        raise InputError("--columns is about --real, and there is none")
    progress = progress or Silent()
    recorded = None if real is None else read_real(real, columns)
    env_kwargs = options.pop("env_kwargs", None) or {}
    if recorded is not None and (env_id or recorded.env_id):
        env_id, env_kwargs = env_of([recorded], env_id, env_kwargs)
    request = RolloutRequest.of(
        {
            **options, "env": env_id, "env_kwargs": env_kwargs, "steps": steps,
            "trajectories": 100 if trajectories is None else trajectories,
        }
    )  # fmt: skip
    from imagine_cli.rollout.prepare import with_env

    request = with_env(request, given[0])
    with opened_env(request.env, dict(request.env_kwargs)) as (env, about):
        run = None
        if recorded is not None:
            run = as_real_run(join([recorded], about, reward=False), recorded.steps)
            run = _cut(run, trajectories, steps, real)
            request = replace(
                request, steps=run.steps, trajectories=run.trajectories,
                policy=recorded.policy or "not said", seed=recorded.seed or 0,
            )  # fmt: skip
        if check is not None:
            check(about, request.steps)
        loaded = _load_all(given, about, request, trust_pickle)
        candidates = find_candidates(loaded, about, request, asked or [None])
        if run is None:
            run = _run(env, about, request, progress)
            if record is not None:
                write_real(
                    run, record, about, policy=request.policy, seed=request.seed, command=command,
                    overwrite=overwrite,
                )  # fmt: skip
        baselines = {"no change": no_change(run), "linear-Gaussian": linear_gaussian(run)}
        target = None if imagined is None else Target(imagined, command, overwrite)
        reports = []
        for candidate in candidates:
            scores, described, seconds = imagine_run(
                candidate, request, env, about, run, target, progress, engine
            )
            name, model, _ = candidate
            several = sum(other.name == name for other in candidates) > 1
            reports.append(
                ModelReport(
                    name=name, label=f"{name}, {described}" if several else name, kind=model.kind,
                    propagation=described, sha256=model.sha256, scores=scores, seconds=seconds,
                    against={k: compare_to(scores, other) for k, other in baselines.items()},
                )
            )  # fmt: skip
        progress.finish()
    return Evaluation(
        env_id=about.id, env_kwargs=about.kwargs, policy=request.policy, seed=request.seed,
        steps=run.steps, trajectories=run.trajectories, lengths=run.lengths,
        observation_names=about.observation_names, baselines=baselines,
        models=sorted(reports, key=lambda report: (np.isnan(report.score), report.score)),
    )  # fmt: skip


def _cut(run: RealRun, trajectories: int | None, steps: int | None, path: Any) -> RealRun:
    for name, asked, there in (
        ("trajectories", trajectories, run.trajectories), ("steps", steps, run.steps),
    ):  # fmt: skip
        if asked is not None and asked > there:
            raise InputError(f"{path} has {there} {name} and --{name} asks for {asked}")
    return run.first(trajectories or run.trajectories, steps or run.steps)


def _load_all(
    given: Sequence[Any], about: EnvDescription, request: RolloutRequest, trust_pickle: bool
) -> dict[str, LoadedModel]:
    """The models by name, each name once."""
    from imagine_cli.rollout.prepare import load_model

    loaded: dict[str, LoadedModel] = {}
    for model in given:
        found = load_model(model, about, request, trust_pickle=trust_pickle)
        name = found.path or str(getattr(found.module, "kind", type(found.module).__name__))
        taken = sum(other == name or other.startswith(f"{name} (") for other in loaded)
        loaded[f"{name} ({taken + 1})" if taken else name] = found
    return loaded


def _run(env: Any, about: EnvDescription, request: RolloutRequest, progress: Progress) -> RealRun:
    from imagine_cli.policies import make_policy

    seed, steps, trajectories = evaluation_seed(request.seed), request.steps, request.trajectories
    policy = make_policy(request.policy, about, seed=seed)
    policy.check(steps, trajectories)
    return run_real(
        env, about, policy, steps=steps, trajectories=trajectories, seed=seed, progress=progress
    )
