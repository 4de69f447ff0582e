"""From an env to a world model of it, with how well it does and how it was made."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import distributions
from typing import Any

from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.fitting.collect import collect
from imagine_cli.fitting.kinds import fitter, settle
from imagine_cli.fitting.progress import Progress, Silent
from imagine_cli.fitting.scores import score, score_reward, score_world_model
from imagine_cli.fitting.split import check_fraction, split
from imagine_cli.policies import make_policy
from imagine_cli.world_models.base import WorldModel

__all__ = ["Fitted", "fit_world_model"]

_FEWEST_STEPS = 50

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
    env_id: str,
    *,
    env_kwargs: dict[str, Any] | None = None,
    kind: str = "gp",
    steps: int = 20000,
    policy: str = "random",
    reward: bool = False,
    seed: int = 0,
    held_out: float = 0.2,
    progress: Progress | None = None,
    **options: int,
) -> Fitted:
    """Run the real env, fit a world model to what it did, and score it on steps held out.

    The same arguments give the same model to the bit, on the same machine and versions.

    Args:
        env_id: a Gymnasium id; ``module:Id`` imports the module first.
        env_kwargs: arguments for the env.
        kind: of world model.
        steps: how often the real env is stepped; 50 or more.
        policy: what acts in the real env, as ``make_policy`` takes it.
        reward: model the reward too, in the kinds that can.
        seed: of the resets, the policy, the split and the optimisation.
        held_out: the part of the steps that is scored on; as much again goes to calibration.
        progress: told of what goes on.
        **options: of the kind: ``points`` and ``restarts`` of ``"gp"``; ``members``, ``elites``,
            ``hidden``, ``layers``, ``epochs`` and ``patience`` of ``"ensemble"``.

    Raises:
        InputError: arguments that can't be used; before the env takes a step.
        ImagineError: the env or the fit failed.
    """
    for name, value, least in (
        ("steps", steps, _FEWEST_STEPS), ("seed", seed, 0),
    ):  # fmt: skip
        if value < least:
            raise InputError(f"{name} must be {least} or more, not {value}")
    check_fraction(held_out, steps)
    how = fitter(kind)
    options = settle(kind, how, reward, options)
    how.require()
    progress = progress or Silent()
    begun, created = time.monotonic(), datetime.now(timezone.utc)
    env = make_env(env_id, env_kwargs)
    try:
        about = describe(env, env_kwargs)
        data = collect(
            env, make_policy(policy, about, seed=seed), steps=steps, seed=seed, progress=progress
        )
    finally:
        env.close()
    parts = split(data, held_out, seed)
    found = how.fit(parts, reward=reward, seed=seed, progress=progress, **options)
    if found.marginals is None:
        scores = score_world_model(found.model, parts.held_out, progress=progress)
    else:
        scores = score(*found.marginals(parts.held_out), parts.held_out.next_observations)
    progress.finish()
    arguments: dict[str, Any] = {
        "kind": kind, "steps": steps, **options, "policy": policy, "seed": seed,
        "held_out": held_out, **({"reward": True} if reward else {}),
    }  # fmt: skip
    held_out_scores = {"observation_names": about.observation_names, **scores.as_dict()}
    if found.model.has_reward:
        held_out_scores["reward"] = score_reward(found.model, parts.held_out).as_dict()["overall"]
    metadata = {
        "command": _command(env_id, env_kwargs or {}, arguments),
        "env": env_id,
        "env_kwargs": dict(env_kwargs or {}),
        **arguments,
        "episodes": int(data.episode[-1]) + 1,
        **found.summary,
        "held_out_scores": held_out_scores,
        "versions": _versions(),
        "created": created.isoformat(timespec="seconds"),
        "duration_seconds": round(time.monotonic() - begun, 3),
    }
    return Fitted(found.model, about, metadata)


def _command(env_id: str, env_kwargs: dict[str, Any], arguments: dict[str, Any]) -> str:
    """The command line that says the same."""
    import json

    words = ["imagine", "fit", "--env", env_id]
    for key, value in env_kwargs.items():
        words += ["--env-kwarg", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for name, value in arguments.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def _versions() -> dict[str, str]:
    return {
        (distribution.metadata["Name"]): distribution.version
        for name in _VERSIONS
        for distribution in distributions(name=name)
    }
