"""``imagine optimize`` as one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch

from imagine_cli.belief import Belief
from imagine_cli.environments import EnvDescription, opened_env
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.memory import check_memory
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.checkpoint import save_policy
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.registry import make_policy
from imagine_cli.progress import Progress, Silent
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.compiling import remark_on_compiling
from imagine_cli.rollout.initial import make_initial
from imagine_cli.rollout.nonfinite import CANT_GO_ON
from imagine_cli.rollout.prepare import (
    LoadedModel,
    device_named,
    load_model,
    make_dynamics,
    with_env,
)
from imagine_cli.search.evaluations import EvaluationLog
from imagine_cli.search.initial_policy import check_policy, initial_policy, is_file
from imagine_cli.search.objective import ImaginedReturn
from imagine_cli.search.optimizers import METHODS, Iteration, climb, require
from imagine_cli.threads import one_thread
from imagine_cli.unroll import ModelDynamics, begin, unroll

_RESETS = 16  # initial beliefs where each is a reset
_VISITS = 16  # trajectories of random actions, whose states basis functions may be at


class CurvePoint(NamedTuple):
    """How the search stood: restart and iteration from 0, the imagined return, its gradient."""

    restart: int
    iteration: int
    imagined_return: float
    gradient_norm: float


@dataclass(frozen=True)
class OptimizedPolicy:
    """A policy that was searched for.

    Attributes:
        policy: the best one.
        env: what it acts in.
        imagined_return: of it: the mean over the initial beliefs of the sum of its rewards.
        initial_return: of the policy that its restart began with.
        curve: of all restarts, one after the other.
        metadata: how it came to be: plain data, as its checkpoint has it.
        path: of the checkpoint, if one was written.
    """

    policy: ParametricPolicy
    env: EnvDescription
    imagined_return: float
    initial_return: float
    curve: Sequence[CurvePoint]
    metadata: dict[str, Any]
    path: Path | None = None

    @property
    def mean_reward(self) -> float:
        """The imagined return a step."""
        return self.imagined_return / int(self.metadata["horizon"])

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine optimize --json`` prints it."""
        return {"path": None if self.path is None else str(self.path), **self.metadata}


def optimize_policy(
    env_id: str | RolloutRequest = "",
    model: str | Path | torch.nn.Module | None = None,
    *,
    policy: str = "rbf:50",
    start: str = "belief",
    horizon: int = 40,
    trajectories: int | None = None,
    method: str = "lbfgs",
    iterations: int = 100,
    restarts: int = 1,
    learning_rate: float = 0.01,
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    trust_pickle: bool = False,
    progress: Progress | None = None,
    command: str = "imagine_cli.optimize_policy",
    **options: Any,
) -> OptimizedPolicy:
    """Search for the parameters of a policy by gradients of its imagined return.

    The same arguments give the same policy to the bit, on the same machine and versions.

    Args:
        env_id: a Gymnasium id, empty for the env that the model's file names; or a request, of
            which ``policy``, ``start``, ``horizon`` (its steps) and ``trajectories`` then come too.
        model: a checkpoint's path, or a world model, which stays as it is.
        policy: ``linear``, ``rbf:50``, ``mlp:64,64`` or the path of a policy to go on from
            (:func:`~imagine_cli.search.initial_policy.initial_policy`).
        start: as :func:`~imagine_cli.rollout.initial.make_initial` takes it.
        horizon: T, the steps that are imagined.
        trajectories: the number of initial beliefs; 16 if None where each is a ``reset``, else 1.
        method: ``"lbfgs"`` or ``"adam"``.
        iterations: the most that each restart has.
        restarts: how many initial policies; the best return wins.
        learning_rate: of Adam.
        output: the checkpoint to write, if any.
        overwrite: replace a file that is there.
        resume: go on with ``output.partial``, which a search with the same arguments left; it
            comes to the same policy.
        trust_pickle: load a pickled model, running whatever code it names.
        progress: told of what goes on.
        command: what the checkpoint says made it.
        **options: ``reward``, ``propagation``, ``particles``, ``members``, ``seed``, ``compiled``,
            ``dtype``, ``device``, ``env_kwargs``: as in a :class:`~imagine_cli.RolloutRequest`.

    Raises:
        InputError: arguments or files that can't be used.
        ImagineError: no restart's initial policy could be imagined.
    """
    if isinstance(env_id, RolloutRequest):
        if options:
            raise TypeError(f"optimize_policy takes {sorted(options)} in the request")
        request = env_id
    else:
        _check_names(options)
        if horizon < 1:
            raise InputError(f"--horizon is {horizon}; it must be 1 or more")
        if trajectories is None:
            trajectories = _RESETS if start == "reset" else 1
        named = str(model) if isinstance(model, (str, Path)) else ""
        request = RolloutRequest.of(
            {**options, "env": env_id, "model": named, "policy": policy, "start": start,
             "steps": horizon, "trajectories": trajectories}
        )  # fmt: skip
    request = with_env(request, model)
    _check(request, method, iterations, restarts, learning_rate)
    progress = progress or Silent()
    begun, created = time.monotonic(), datetime.now(timezone.utc)
    with opened_env(request.env, dict(request.env_kwargs)) as (real, env):
        check_policy(request.policy, env)
        count, size = request.trajectories, env.observation_size
        held = restarts * count * request.steps * size * (size + 1)
        check_memory(held, f"{request.steps} imagined steps of {count} trajectories")
        given = request.model if model is None else model
        loaded = load_model(given, env, request, trust_pickle=trust_pickle)
        dynamics = make_dynamics(
            loaded.module, env, request,
            None if isinstance(options.get("propagation"), str) else options.get("propagation"),
        )  # fmt: skip
        initial = make_initial(request.start, real, env, seed=request.seed, count=count)
        device = device_named(request.device)
        belief = Belief(*(torch.from_numpy(part).to(device) for part in initial(0, count)))
    # A step and its gradient take about three times as long as the step.
    remark_on_compiling(dynamics, 3 * iterations * restarts * count * request.steps)
    objective = ImaginedReturn(dynamics, belief, request.steps, request.seed)
    with one_thread():
        states = _visited(objective, env, request)
        search = _Search(request, env, objective, states, progress, method, iterations)
        log = None
        if output is not None:
            how = f"{method} {iterations} {restarts} {learning_rate} {loaded.sha256}"
            partial = Path(output).with_name(f"{Path(output).name}.partial")
            log = EvaluationLog(partial, f"{request.to_json()} {how}", resume)
        try:
            best = search.run(restarts, learning_rate, log)
        except ImagineError:
            if log is not None:
                log.remove()
            raise
    progress.finish()
    metadata = _metadata(request, loaded, objective.dynamics, command) | {
        "method": method,
        "iterations": iterations,
        "restarts": restarts,
        **({"learning_rate": learning_rate} if method == "adam" else {}),
        "imagined_return": best.value,
        "mean_reward": best.value / request.steps,
        "initial_return": best.initial,
        "evaluations": search.evaluations,
        "curve": [point._asdict() for point in search.curve],
        "created": created.isoformat(timespec="seconds"),
        "duration_seconds": round(time.monotonic() - begun, 3),
    }
    if output is not None:
        save_policy(best.policy, output, env=env, metadata=metadata, overwrite=overwrite)
    if log is not None:
        log.remove()
    path = None if output is None else Path(output)
    return OptimizedPolicy(best.policy, env, best.value, best.initial, search.curve, metadata, path)


class _Best(NamedTuple):
    policy: ParametricPolicy
    value: float
    initial: float


class _Search:
    """The restarts, as one batch."""

    def __init__(
        self,
        request: RolloutRequest,
        env: EnvDescription,
        objective: ImaginedReturn,
        states: torch.Tensor,
        progress: Progress,
        method: str,
        iterations: int,
    ) -> None:
        self._request, self._env, self._objective = request, env, objective
        self._states, self._progress = states, progress
        self._method, self._iterations = method, iterations
        self.curve: list[CurvePoint] = []
        self.evaluations = 0

    def run(self, restarts: int, learning_rate: float, log: EvaluationLog | None) -> _Best:
        """The best of all. ImagineError where each of them fails at its first evaluation."""
        policies = [self._initial(restart) for restart in range(restarts)]
        of = f", {restarts} restarts at once" if restarts > 1 else ""
        self._progress.stage(f"searching{of}", restarts * self._iterations)

        def tell(restart: int, at: Iteration) -> None:
            self.curve.append(CurvePoint(restart, *at))
            note = f"return {at.value:.5g}, gradient {at.gradient_norm:.2g}"
            self._progress.advance(min(at.number, 1), note)

        found = climb(
            self._method, self._objective, policies,
            iterations=self._iterations, tell=tell, learning_rate=learning_rate, log=log,
        )  # fmt: skip
        self.curve.sort()
        initial = {at.restart: at.imagined_return for at in self.curve if at.iteration == 0}
        best: list[_Best] = []
        for restart, one in enumerate(found):
            if not isinstance(one, ImagineError):
                self.evaluations += one.evaluations
                best.append(_Best(policies[restart], one.value, initial[restart]))
            elif len(self.curve) > 0:
                warnings.warn(f"restart {restart} is left out: {one}", stacklevel=3)
            else:
                raise one
        return max(best, key=lambda one: one.value)

    def _initial(self, restart: int) -> ParametricPolicy:
        request, objective = self._request, self._objective
        belief = objective.belief
        return initial_policy(
            request.policy, self._env, belief, states=self._states, seed=request.seed,
            restart=restart, dtype=objective.dynamics.dtype, device=belief.mean.device,
        )  # fmt: skip


def _visited(
    objective: ImaginedReturn, env: EnvDescription, request: RolloutRequest
) -> torch.Tensor:
    """States that random actions lead to in imagination, for basis functions, ``(K, D)``."""
    belief, model = objective.belief, objective.dynamics.model
    if not request.policy.startswith("rbf"):  # no other policy has a place
        return belief.mean
    points = isinstance(model, Sampled.needs)
    dynamics = ModelDynamics(model, Sampled()) if points else objective.dynamics
    count = max(_VISITS, len(belief.mean))
    rows = torch.arange(count, device=belief.mean.device) % len(belief.mean)
    initial = Belief(belief.mean[rows], belief.var[rows])
    context = PolicyContext(env, request.seed, dynamics.dtype, belief.mean.device)
    policy, noise = make_policy("random", context), objective.noise(count)
    means = [belief.mean]
    try:
        with torch.no_grad():
            state = begin(dynamics, policy, initial, noise)
            steps = unroll(dynamics, policy, initial, state, noise, request.steps)
            means.extend(step.prediction.mean for step in steps)
    except CANT_GO_ON:
        pass
    states = torch.cat(means)
    return states[torch.isfinite(states).all(-1)]


def _check_names(options: dict[str, Any]) -> None:
    named = {"reward", "propagation", "seed", "compiled", "dtype", "device", "env_kwargs"}
    unknown = sorted(set(options) - named - {"particles", "members"})
    if unknown:
        raise TypeError(f"optimize_policy has no argument {unknown[0]!r}")


def _check(
    request: RolloutRequest, method: str, iterations: int, restarts: int, learning_rate: float
) -> None:
    """InputError for what is known to be unusable before anything is loaded."""
    if method not in METHODS:
        raise InputError(f"--method {method!r} is not {' or '.join(METHODS)}")
    if method == "lbfgs":
        require()
    for name, value in (("iterations", iterations), ("restarts", restarts)):
        if value < 1:
            raise InputError(f"--{name} is {value}; it must be 1 or more")
    if not 0.0 < learning_rate < float("inf"):
        raise InputError(f"--learning-rate is {learning_rate}; it must be above 0")
    if restarts > 1 and is_file(request.policy):
        raise InputError(
            f"--restarts {restarts} begin at as many policies, and {request.policy} is one; leave "
            "--restarts out"
        )


def _metadata(
    request: RolloutRequest, loaded: LoadedModel, dynamics: ModelDynamics, command: str
) -> dict[str, Any]:
    """What a checkpoint says of how it was asked for."""
    return {
        "command": command,
        "env": request.env,
        "env_kwargs": dict(request.env_kwargs),
        "model": loaded.path,
        "model_kind": loaded.kind,
        "model_sha256": loaded.sha256,
        "policy": request.policy,
        "start": request.start,
        "trajectories": request.trajectories,
        "horizon": request.steps,
        "reward": request.reward or "model",
        "propagation": request.propagation or dynamics.model.propagation,
        **request.parameters,
        "seed": request.seed,
        "compiled": request.compiled,
    }
