"""From an env to a world model of it, with how well it does and how it was made."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError, Remark
from imagine_cli.fitting import gather
from imagine_cli.fitting.collect import check_sizes
from imagine_cli.fitting.horizons import held_out_scores
from imagine_cli.fitting.kinds import Kind, settle
from imagine_cli.fitting.model_error import fit_model_error
from imagine_cli.fitting.split import check_fraction, scales, split
from imagine_cli.progress import Progress, Silent
from imagine_cli.registry import FITS
from imagine_cli.world_models.base import WorldModel

_STEPS = 20000

# More observations than these are worth a word before the work.
_MANY = 30

# How many standard deviations of the data an error has that no forecast should have.
_DIVERGED = 10.0

_VERSIONS = ("imagine-cli", "torch", "gpytorch", "botorch", "gymnasium", "numpy")


@dataclass(frozen=True)
class Fitted:
    """A world model and what to save with it.

    Attributes:
        model: the world model.
        env: the env it is a model of.
        metadata: how it was made and what it scored: plain data.
    """

    model: WorldModel
    env: EnvDescription
    metadata: dict[str, Any]


def fit_world_model(
    env_id: str | None = None,
    *,
    env_kwargs: dict[str, Any] | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    kind: str = "gp",
    steps: int | None = None,
    policy: str | None = None,
    columns: str | None = None,
    allow_imagined: bool = False,
    reward: bool = False,
    seed: int = 0,
    held_out: float = 0.2,
    scores: bool = True,
    on_model: Callable[[Fitted], None] | None = None,
    progress: Progress | None = None,
    **options: int,
) -> Fitted:
    """Fit a world model to what a real env did, and score it on steps held out.

    The same arguments give the same model to the bit, on the same machine and versions.

    Args:
        env_id: a Gymnasium id; ``module:Id`` imports the module first. May be left out where
            ``data`` says it.
        env_kwargs: arguments for the env.
        data: transitions that were recorded, in place of running the env: one or several files,
            folders or ids of Minari datasets (:mod:`imagine_cli.transitions`).
        kind: of world model.
        steps: how often the real env is stepped, 20000 by default; with ``data``, how many of its
            transitions are taken, from the first, by default all. 50 or more.
        policy: what acts in the real env, as ``make_policy`` takes it; ``"random"`` by default.
            None with ``data``.
        columns: which columns of ``data`` are what, as ``"observation=x,y;action=u"``.
        allow_imagined: take ``data`` of imagined rollouts too.
        reward: model the reward too, in the kinds that can.
        seed: of the resets, the policy, the split and the optimisation.
        held_out: the part of the steps that is scored on; as much again goes to calibration.
        scores: whether it is scored, which can take longer than the fit.
        on_model: called with the model before it is scored.
        progress: told of what goes on.
        **options: of the kind: ``points`` and ``restarts`` of ``"gp"``; ``points`` of
            ``"sparse-gp"``; ``members``, ``elites``, ``hidden``, ``layers``, ``epochs`` and
            ``patience`` of ``"ensemble"``.

    Raises:
        InputError: arguments that can't be used; before the env takes a step.
        ImagineError: the env or the fit failed.
    """
    if data is not None and policy is not None:
        raise InputError("--policy acts in the real env, which --data stands for; leave one out")
    if data is None and (columns is not None or allow_imagined):
        raise InputError("--columns and --allow-imagined are about --data, and there is none")
    for name, value, least in (("steps", steps, gather.FEWEST_STEPS), ("seed", seed, 0)):
        if value is not None and value < least:
            raise InputError(f"{name} must be {least} or more, not {value}")
    how: Kind = FITS.load(kind)
    options = settle(kind, how, reward, options)
    progress = progress or Silent()
    begun, created = time.monotonic(), datetime.now(timezone.utc)
    if data is None:
        steps, policy = steps or _STEPS, policy or "random"
        check_fraction(held_out, steps)
        found = gather.run(
            env_id, env_kwargs, steps=steps, policy=policy, seed=seed, progress=progress
        )
    else:
        sources = [data] if isinstance(data, str | Path) else data
        found = gather.read(
            sources, env_id, env_kwargs, reward=reward, steps=steps, columns=columns,
            allow_imagined=allow_imagined, progress=progress,
        )  # fmt: skip
        check_fraction(held_out, len(found.transitions))
    transitions = found.transitions
    check_sizes(transitions, found.env.observation_names)
    if found.env.observation_size > _MANY:
        sizes = f"{found.env.observation_size} observations and {found.env.action_size} actions"
        warnings.warn(f"{found.env_id} has {sizes}", Remark, stacklevel=2)
    parts = split(transitions, held_out, seed)
    fitted = how.fit(parts, reward=reward, seed=seed, progress=progress, **options)
    error, error_summary = fit_model_error(
        fitted.model, transitions, parts.calibration_rows, progress
    )
    fitted.model.model_error = error
    asked: dict[str, Any] = {
        "kind": kind, "steps": steps, **options, "policy": policy, "seed": seed,
        "held_out": held_out, "reward": reward or None, "columns": columns,
        "allow_imagined": allow_imagined or None, "no_scores": None if scores else True,
    }  # fmt: skip
    arguments = {name: value for name, value in asked.items() if value is not None}
    metadata = {
        "command": _command(env_id, env_kwargs or {}, found.sources, arguments),
        "env": found.env_id,
        "env_kwargs": found.env.kwargs,
        **arguments,
        **({"data": found.sources} if found.sources else {}),
        "steps": len(transitions),
        "episodes": int(transitions.episode[-1]) + 1,
        **fitted.summary,
        "model_error": error_summary,
        "versions": _versions(),
        "created": created.isoformat(timespec="seconds"),
        "duration_seconds": round(time.monotonic() - begun, 3),
    }  # fmt: skip
    result = Fitted(fitted.model, found.env, metadata)
    if on_model is not None:
        on_model(result)
    if scores:
        metadata["held_out_scores"] = score = held_out_scores(
            fitted.model, transitions, parts, found.env, seed=seed, progress=progress
        )
        _warn_of_divergence(score["horizons"]["ahead"], found.env, transitions.next_observations)
        metadata["duration_seconds"] = round(time.monotonic() - begun, 3)
    progress.finish()
    return result


def _warn_of_divergence(
    ahead: Sequence[dict[str, Any]], env: EnvDescription, observations: np.ndarray
) -> None:
    """Where predictions are much worse than any forecast that stays among the data."""
    for entry in ahead:
        apart = np.array(entry["rmse"]) / scales(observations)
        worst = int(np.argmax(apart))
        if apart[worst] > _DIVERGED:
            warnings.warn(
                f"at step {entry['steps']} the error of {env.observation_names[worst]} is "
                f"{apart[worst]:.1e} times its standard deviation; imagine fewer steps, or fit to "
                "more transitions",
                stacklevel=3,
            )
            return


def _command(
    env_id: str | None,
    env_kwargs: dict[str, Any],
    sources: Sequence[dict[str, Any]],
    arguments: dict[str, Any],
) -> str:
    """The command line that says the same."""
    import json

    words = ["imagine", "fit", *(["--env", env_id] if env_id is not None else [])]
    for key, value in env_kwargs.items():
        words += ["--env-kwarg", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for source in sources:
        words += ["--data", source["path"]]
    for name, value in arguments.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def _versions() -> dict[str, str]:
    found = (each for name in _VERSIONS for each in distributions(name=name))
    return {each.metadata["Name"]: each.version for each in found}
