"""``imagine play`` as one call: a policy in the real env, and what a world model thinks of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, env_said, opened_env
from imagine_cli.errors import InputError
from imagine_cli.evaluation.imagining import imagined_returns
from imagine_cli.evaluation.intervals import mean_and_error
from imagine_cli.evaluation.real import RealRun, evaluation_seed, run_real, write_real
from imagine_cli.progress import Progress, Silent
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    import torch

    from imagine_cli.policies.base import Policy

# Episodes of an env that says nothing of their length.
_STEPS = 1000


@dataclass(frozen=True)
class Played:
    """What a policy did in the real env.

    Attributes:
        returns, lengths: of each real episode, ``(B,)``: the sum of its rewards, and its steps.
        steps: the most that an episode could have.
        imagined: the returns that the world model imagines from the same beginnings, ``(B,)``;
            None without one.
        seconds: that the real episodes took.
    """

    env_id: str
    policy: str
    seed: int
    steps: int
    returns: np.ndarray
    lengths: np.ndarray
    imagined: np.ndarray | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine play --json`` prints it."""
        found = {"return": self.returns, "length": self.lengths.astype(np.float64)}
        if self.imagined is not None:
            found["imagined_return"] = self.imagined
        return {
            "env_id": self.env_id,
            "policy": self.policy,
            "seed": self.seed,
            "steps": self.steps,
            "episodes": len(self.returns),
            "real_steps": int(self.lengths.sum()),
            **{name: _described(values) for name, values in found.items()},
            "seconds": round(self.seconds, 3),
        }


def _described(values: np.ndarray) -> dict[str, Any]:
    mean, error = mean_and_error(values)
    return {
        "mean": mean,
        "error_95": None if np.isnan(error) else error,
        "sd": float(values.std()),
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
        "each": values.tolist(),
    }


def play_policy(
    env_id: str | None,
    policy: str | Policy = "random",
    *,
    trajectories: int = 100,
    steps: int | None = None,
    model: str | Path | torch.nn.Module | None = None,
    record: str | Path | None = None,
    overwrite: bool = False,
    trust_pickle: bool = False,
    command: str = "imagine_cli.play_policy",
    progress: Progress | None = None,
    **options: Any,
) -> Played:
    """Play a policy in the real env: returns and lengths of its episodes.

    Args:
        env_id: a Gymnasium env id; if None, the one that the file of ``model`` or ``policy`` says.
        policy: as :func:`~imagine_cli.policies.make_policy` takes it, or a policy; planners plan
            with ``model``.
        trajectories: B, how many episodes.
        steps: the most steps of an episode; its own end if None.
        model: a world model, with which the same policy is imagined from the same beginnings.
        record: where the episodes go, as a rollout file of zero variance.
        overwrite: replace a file that is there.
        trust_pickle: load a pickled model, running whatever code it names.
        command: what the file says made it.
        progress: told of what goes on.
        **options: ``env_kwargs``, ``seed``, ``reward`` (of the model's imagination: the env's own
            if None and the model has none), ``propagation`` and its parameters, ``device``,
            ``compiled``, ``dtype``: as :class:`~imagine_cli.RolloutRequest` has them.

    Raises:
        InputError: arguments or files that can't be used.
        ImagineError: the env or the model failed.
    """
    progress = progress or Silent()
    named = policy if isinstance(policy, str) else policy.name
    request = RolloutRequest.of(
        {
            **options, "env": env_id, "policy": named, "steps": steps,
            "trajectories": trajectories,
        }
    )  # fmt: skip
    request = env_to_play(request, model)
    with opened_env(request.env, dict(request.env_kwargs)) as (env, about):
        limit = env.spec.max_episode_steps if env.spec is not None else None
        if steps is None:
            request = replace(request, steps=limit or _STEPS)
        own = evaluation_seed(request.seed)
        acting, prepared = _prepare(request, env, about, policy, model, own, trust_pickle)
        acting.check(request.steps, request.trajectories)
        begun = time.perf_counter()
        run = run_real(
            env, about, acting, steps=request.steps, trajectories=request.trajectories, seed=own,
            progress=progress,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        if record is not None:
            write_real(
                run, record, about, policy=named, seed=request.seed, command=command,
                overwrite=overwrite,
            )  # fmt: skip
        imagined = None
        if prepared is not None:
            imagined = imagined_returns(prepared, run, progress)
        progress.finish()
    return Played(
        about.id, named, request.seed, request.steps, _returns(run), run.lengths, imagined, seconds
    )


def env_to_play(request: RolloutRequest, model: Any) -> RolloutRequest:
    """The request with the env that the file of the model or policy names, where it has none.

    Raises InputError where neither says.
    """
    from imagine_cli.policies.checkpoint import describe_policy, is_policy
    from imagine_cli.rollout.prepare import with_env

    if request.env or model is not None or not is_policy(request.policy):
        return with_env(request, model)
    said = describe_policy(request.policy)["env"]
    env, kwargs = env_said(said, request.policy, request.env_kwargs)
    return replace(request, env=env, env_kwargs=kwargs)


def _prepare(
    request: RolloutRequest,
    env: Any,
    about: EnvDescription,
    policy: str | Policy,
    model: Any,
    seed: int,
    trust_pickle: bool,
) -> tuple[Policy, Any]:
    """The policy, and where there is a model the prepared imagination of the same episodes."""
    from imagine_cli.policies import make_policy
    from imagine_cli.rollout.prepare import load_model, make_dynamics, prepare

    given = None if isinstance(policy, str) else policy
    if model is None:
        if request.reward is not None:
            raise InputError("--reward is of what is imagined, and there is no --model")
        return given or make_policy(request.policy, about, seed=seed), None
    loaded = load_model(model, about, request, trust_pickle=trust_pickle)
    if request.reward is None and not make_dynamics(loaded.module, about, request).has_reward:
        request = replace(request, reward="env")
    rollout = prepare(
        replace(request, seed=seed), env, about, loaded, policy=given, trust_pickle=trust_pickle
    )
    return rollout.policy, rollout


def _returns(run: RealRun) -> np.ndarray:
    assert run.rewards is not None
    return np.asarray(np.nansum(run.rewards, axis=1))
