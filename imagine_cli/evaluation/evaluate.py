"""``imagine evaluate`` as one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.evaluation.baselines import linear_gaussian, no_change
from imagine_cli.evaluation.real import (
    RealRun,
    evaluation_seed,
    read_real,
    run_real,
    write_real,
)
from imagine_cli.evaluation.report import Evaluation, ModelReport, compare_to
from imagine_cli.evaluation.scores import ScoreKeeper, require_scores
from imagine_cli.fitting.progress import Progress, Silent
from imagine_cli.recording import RolloutHeader, RolloutWriter

if TYPE_CHECKING:
    import torch

__all__ = ["Evaluation", "evaluate_model"]

_TOLD_EVERY = 0.1


@dataclass(frozen=True)
class _Loaded:
    """A world model ready to imagine."""

    name: str
    module: Any
    path: str
    digest: str


def evaluate_model(
    models: str | Path | torch.nn.Module | Sequence[str | Path | torch.nn.Module],
    env_id: str | None = None,
    *,
    steps: int | None = None,
    trajectories: int | None = None,
    policy: str = "random",
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    real: str | Path | None = None,
    record: str | Path | None = None,
    imagined: str | Path | None = None,
    device: str = "cpu",
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
        seed: of the real run; ``imagine fit`` with the same one saw other episodes.
        env_kwargs: arguments for the env.
        real: a real run that ``record`` wrote, in place of running the env.
        record: where the real run goes, as a rollout file of zero variance.
        imagined: where the imagined rollout goes; for one model.
        device: where the models compute.
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
    if not given:
        raise InputError("there is no model to evaluate; give at least one --model")
    if imagined is not None and len(given) > 1:
        raise InputError("--imagined is for one model; evaluate the models one after another")
    if imagined is not None and record is not None and Path(imagined) == Path(record):
        raise InputError(f"--record and --imagined can't both write {record}")
    if real is not None and record is not None:
        raise InputError("--real reads a real run and --record writes one; give one of them")
    for name, value, least in (("steps", steps, 1), ("trajectories", trajectories, 1),
                               ("seed", seed, 0)):  # fmt: skip
        if value is not None and value < least:
            raise InputError(f"--{name} is {value}; it must be {least} or more")
    progress = progress or Silent()
    run, known = (None, {}) if real is None else read_real(real)
    env_id, env_kwargs = _which_env(env_id, env_kwargs, real, known)
    env = make_env(env_id, env_kwargs)
    with ExitStack() as stack:
        stack.callback(env.close)
        about = describe(env, env_kwargs)
        if run is not None:
            run = _cut(run, about, trajectories, steps, real)
            policy, seed = str(known.get("policy", "not said")), int(known.get("seed", 0))
        length = run.steps if run is not None else steps or 50
        if check is not None:
            check(about, length)
        loaded = _load_all(given, about, trust_pickle, device)
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
        for model in loaded:
            writer = None
            if imagined is not None:
                writer = (imagined, policy, seed, command, overwrite)
            keeper, seconds = _imagine(model, env, about, run, device, writer, progress)
            scores = keeper.scores()
            reports.append(
                ModelReport(
                    name=model.name,
                    kind=str(getattr(model.module, "kind", "module")),
                    propagation=str(getattr(model.module, "propagation", "module")),
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
    env_id: str | None, env_kwargs: dict[str, Any] | None, real: Any, known: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The env's id and arguments, from the options or from the real file."""
    import json

    if real is None:
        if env_id is None:
            raise InputError("no env: give --env, or --real with a recorded real run")
        return env_id, dict(env_kwargs or {})
    said = str(known.get("env_id", "")) or env_id
    if said is None:
        raise InputError(f"{real} does not say of which env it is; give --env")
    if env_id is not None and env_id.rsplit(":", 1)[-1] != said.rsplit(":", 1)[-1]:
        raise InputError(f"{real} is a run of {said}, not of {env_id}")
    if env_kwargs:
        return env_id or said, dict(env_kwargs)
    try:
        kwargs = json.loads(known.get("env_kwargs", "{}"))
    except (TypeError, ValueError):
        kwargs = {}
    return env_id or said, kwargs if isinstance(kwargs, dict) else {}


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
    given: Sequence[Any], about: EnvDescription, trust_pickle: bool, device: str
) -> list[_Loaded]:
    from imagine_cli.rollout.run import _device, _load

    place = _device(device)
    loaded: list[_Loaded] = []
    for model in given:
        module, path, digest = _load(model, about, trust_pickle, place)
        name = path or str(getattr(module, "kind", type(module).__name__))
        taken = sum(other.name == name or other.name.startswith(f"{name} (") for other in loaded)
        loaded.append(_Loaded(f"{name} ({taken + 1})" if taken else name, module, path, digest))
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


def _imagine(
    model: _Loaded,
    env: Any,
    about: EnvDescription,
    run: RealRun,
    device: str,
    writing: tuple[str | Path, str, int, str, bool] | None,
    progress: Progress,
) -> tuple[ScoreKeeper, float]:
    """Imagine the run's starts and actions; what the engine records are the scores."""
    import torch
    from torchrl.envs import GymWrapper

    from imagine_cli.evaluation.replay import GivenActions, Tee
    from imagine_cli.imagined_env import ImaginedEnv
    from imagine_cli.rollout.engine import Recorder, imagine_all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = GymWrapper(env, device=torch.device(device))
        imagined = ImaginedEnv(model.module, base, batch_size=[run.trajectories])
    keeper = ScoreKeeper(run.observations, run.lengths)
    size = about.observation_size
    total = run.steps * run.trajectories
    progress.stage(f"imagining with {model.name}", total)
    done, told, tell = 0, 0, 0.0

    def on_step(count: int, _: torch.Tensor) -> None:
        nonlocal done, told, tell
        done += count
        if time.monotonic() >= tell or done == total:
            progress.advance(done - told)
            told, tell = done, time.monotonic() + _TOLD_EVERY

    def start(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return run.observations[first : first + count, 0], np.zeros((count, size, size))

    begun = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        recorder: Recorder = keeper
        if writing is not None:
            path, policy, seed, command, overwrite = writing
            header = RolloutHeader(
                command=command, env_id=about.id, env_kwargs=about.kwargs, policy=policy,
                propagation=str(getattr(model.module, "propagation", "module")), seed=seed,
                steps=run.steps, trajectories=run.trajectories, model_path=model.path,
                model_sha256=model.digest,
                model_kind=str(getattr(model.module, "kind", "module")),
                observation_names=about.observation_names, action_names=about.action_names,
                observation_low=about.observation_low, observation_high=about.observation_high,
                extra={"start": "real run", "device": device},
            )  # fmt: skip
            dtype = str(imagined.belief_dtype).removeprefix("torch.")
            writer = RolloutWriter(path, header, dtype=dtype, overwrite=overwrite)
            recorder = Tee(keeper, stack.enter_context(writer))
        try:
            imagine_all(
                imagined,
                GivenActions(run.actions, imagined.belief_dtype, torch.device(device)),
                start,
                recorder,
                steps=run.steps,
                trajectories=run.trajectories,
                action_size=about.action_size,
                wanted={"action_var": False, "reward": False, "reward_var": False},
                names=about.observation_names,
                on_step=on_step,
            )
        except ImagineError as error:
            raise type(error)(f"{model.name}: {error}") from error
    return keeper, time.perf_counter() - begun
