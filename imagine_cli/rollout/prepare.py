"""A request with everything that it names loaded: what imagines, what acts, where it begins."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagine_cli.checkpoint import check_env, checkpoint_files, load_world_model, read_checkpoint
from imagine_cli.environments import EnvDescription, env_said
from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.memory import check_memory
from imagine_cli.policies import make_policy
from imagine_cli.policies.base import OpenLoop, Policy, PolicyContext
from imagine_cli.policies.replay import GivenActions
from imagine_cli.propagation import Propagation, make_propagation
from imagine_cli.propagation.particles import Particles
from imagine_cli.recording.schema import RolloutHeader
from imagine_cli.request import RolloutRequest
from imagine_cli.rewards import RewardContext, make_reward
from imagine_cli.rollout.initial import Initial, make_initial
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models import WorldModel, as_world_model

# The most numbers that particles, and what they follow, may be in memory: 64 MiB of float64.
# Arrays as large as all particles that a step has at once: points, samples, noise, sums.
_COPIES = 10
_NUMBERS = 2**23


@dataclass(frozen=True)
class LoadedModel:
    """A world model as it was given: a module, its file and that file's SHA-256 (or empty).

    ``trust_pickle`` says whether that file might run code.
    """

    module: Any
    path: str = ""
    sha256: str = ""
    trust_pickle: bool = False

    @property
    def kind(self) -> str:
        return str(getattr(self.module, "kind", "module"))


def with_env(request: RolloutRequest, model: Any = None) -> RolloutRequest:
    """The request with the env that its model's checkpoint names, where it names none.

    ``model`` stands for the model that the request names. Raises InputError where nobody says.
    """
    if request.env:
        return request
    file = request.model if model is None else model
    if file == "":
        raise InputError("no env: give --env, or a --model whose file says of which env it is")
    if not isinstance(file, str | Path):
        raise InputError("the world model does not say of which env it is; give --env (env=...)")
    env, kwargs = env_said(read_checkpoint(file).env, file, request.env_kwargs)
    return replace(request, env=env, env_kwargs=kwargs)


def load_model(
    model: str | Path | torch.nn.Module,
    description: EnvDescription,
    request: RolloutRequest,
    *,
    trust_pickle: bool = False,
) -> LoadedModel:
    """The world model for an env, on the request's device and in its dtype, compiled or not.

    A model that is given as an object is left as it is: where it has to change, a copy does.
    """
    device, path, digest = device_named(request.device), "", ""
    loaded: Any
    if isinstance(model, (str, Path)):
        loaded = load_world_model(
            model, trust_pickle=trust_pickle, device=device, check=check_env(description)
        )
        path, digest = str(model), sha256_of(*checkpoint_files(model))
    elif request.compiled or request.dtype is not None or _is_elsewhere(model, device):
        loaded = deepcopy(model).to(device)
    else:
        loaded = model
    if request.dtype is not None:
        if isinstance(loaded, WorldModel):
            loaded.dtype = getattr(torch, request.dtype)
        else:
            loaded = loaded.to(getattr(torch, request.dtype))
    if request.compiled and isinstance(loaded, WorldModel):
        loaded.compile()
    return LoadedModel(loaded, path, digest, trust_pickle)


def make_dynamics(
    module: Any, description: EnvDescription, request: RolloutRequest, propagation: Any = None
) -> ModelDynamics:
    """The model with the request's propagation, or ``propagation``, which may be an object.

    Raises InputError where they don't fit each other, or the env.
    """
    particles = request.parameters.get("particles") or 0
    size = description.observation_size + description.action_size
    check_memory(_COPIES * particles * size, f"{particles} particles")
    asked = request.propagation if propagation is None else propagation
    named = asked or ("particles" if request.parameters else None)
    model = as_world_model(
        module,
        description.observation_size,
        description.action_size,
        dtype=getattr(torch, description.observation_dtype, None),
        propagation=named,
    )
    reward = None
    if request.reward is not None:
        device = device_named(request.device)
        reward = make_reward(request.reward, RewardContext(description, model, model.dtype, device))
    return ModelDynamics(model, make_propagation(asked, model, **request.parameters), reward)


@dataclass(frozen=True)
class GivenRun:
    """Where trajectories begin, and what is done there, as arrays: of a real run.

    Attributes:
        observations: ``(B, D)``, certain.
        actions: ``(B, T, F)``.
        seed: of the run, as the file says it; the request's is the propagation's.
    """

    observations: np.ndarray
    actions: np.ndarray
    seed: int

    def initial(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        mean = self.observations[first : first + count]
        return mean, np.zeros((*mean.shape, mean.shape[1]))

    def policy(self, request: RolloutRequest) -> Policy:
        actions = torch.tensor(self.actions, device=request.device)
        return GivenActions(actions, request.policy)


@dataclass(frozen=True)
class PreparedRollout:
    """What :func:`prepare` makes of a request.

    Attributes:
        request: what is imagined.
        description: of the real env.
        model: the world model as it was given.
        dynamics: what takes a belief one step on.
        policy: what acts.
        initial: where each trajectory begins.
        given: what policy and initial beliefs are of, where the request doesn't name them.
    """

    request: RolloutRequest
    description: EnvDescription
    model: LoadedModel
    dynamics: ModelDynamics
    policy: Policy
    initial: Initial
    given: GivenRun | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of beliefs and file."""
        return self.dynamics.dtype

    @property
    def device(self) -> torch.device:
        return torch.device(self.request.device)

    @property
    def observation_names(self) -> list[str]:
        return self.description.observation_names

    @property
    def action_size(self) -> int:
        """F."""
        return self.description.action_size

    @cached_property
    def fields(self) -> list[str]:
        """The datasets that its file has."""
        fields = ["observation/mean", "observation/var", "action/mean"]
        propagation = self.dynamics.propagation
        many = isinstance(propagation, Particles) and not propagation.resample
        if self.policy.gives_variance or (many and self.policy.acts_at_points):
            fields.append("action/var")
        if self.dynamics.has_reward:
            fields.append("reward/mean")
        if self.dynamics.has_reward_var:
            fields.append("reward/var")
        if self.particles is not None:
            fields.append("particles/observation")
        return fields

    @property
    def particles(self) -> int | None:
        """P, where particles are recorded."""
        propagation = self.dynamics.propagation
        if self.request.save_particles and isinstance(propagation, Particles):
            return propagation.particles
        return None

    @property
    def together(self) -> int | None:
        """The most trajectories whose particles, and what these follow, may be in memory."""
        propagation, size = self.dynamics.propagation, self.description.observation_size
        each = propagation.numbers(self.dynamics.model)
        if self.particles is not None:
            each = max(each, self.particles * size * min(self.request.steps, 64))
        return max(1, _NUMBERS // each) if each else None

    @property
    def layout(self) -> dict[str, Any]:
        """What its file has, as RolloutWriter takes it beside the header."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "fields": self.fields,
            "particles": self.particles,
            "together": self.together,
        }

    def header(self, command: str, **extra: str | int | float | bool) -> RolloutHeader:
        """What its file says of it; ``extra`` becomes further attributes."""
        request, about = self.request, self.description
        if request.on_nonfinite == "mask":
            extra = {**extra, "on_nonfinite": "mask"}
        return RolloutHeader(
            command=command,
            env_id=about.id,
            env_kwargs=about.kwargs,
            policy=request.policy,
            propagation=self.dynamics.propagation.description,
            seed=request.seed,
            steps=request.steps,
            trajectories=request.trajectories,
            model_path=self.model.path,
            model_sha256=self.model.sha256,
            model_kind=self.model.kind,
            observation_names=about.observation_names,
            action_names=about.action_names,
            observation_low=about.observation_low,
            observation_high=about.observation_high,
            extra={"start": request.start, "device": str(self.device), **extra},
        )


def request_header(rollout: PreparedRollout, command: str) -> RolloutHeader:
    """The header of a file that can be run again from what it says; but for a given run."""
    request = rollout.request
    if rollout.given is not None:
        return replace(rollout.header(command), seed=rollout.given.seed)
    read = [path for path in (request.policy, request.start) if os.path.isfile(path)]
    digests = json.dumps({path: sha256_of(path) for path in read})
    return rollout.header(command, arguments=request.to_json(), files_sha256=digests)


def prepare(
    request: RolloutRequest,
    real: Any,
    description: EnvDescription,
    model: str | Path | torch.nn.Module | LoadedModel | None = None,
    *,
    propagation: Propagation | None = None,
    policy: Any = None,
    given: GivenRun | None = None,
    trust_pickle: bool = False,
) -> PreparedRollout:
    """Load everything that a request names.

    Args:
        request: what is to be imagined.
        real, description: the real env, which lends its resets, and what it is.
        model: in place of the path that the request names.
        propagation, policy: in place of those that it names.
        given: in place of its policy and its start.
        trust_pickle: load a pickled model, running whatever code it names.

    Raises:
        InputError: something that can't be loaded, or doesn't fit the rest.
    """
    if not isinstance(model, LoadedModel):
        named = request.model if model is None else model
        model = load_model(named, description, request, trust_pickle=trust_pickle)
    dynamics = make_dynamics(model.module, description, request, propagation)
    if request.save_particles and not isinstance(dynamics.propagation, Particles):
        raise InputError(
            "--save-particles needs particles, and the propagation is "
            f"{dynamics.propagation.description}; give --propagation particles"
        )
    if given is not None:
        policy = given.policy(request)
    else:
        context = PolicyContext(
            description, request.seed, dynamics.dtype, device_named(request.device), dynamics
        )
        policy = make_policy(request.policy if policy is None else policy, context)
    if request.open_loop:
        policy = OpenLoop(policy)
    policy.check(request.steps, request.trajectories)
    if given is not None:
        initial: Initial = given.initial
    else:
        count = request.trajectories
        initial = make_initial(request.start, real, description, seed=request.seed, count=count)
    return PreparedRollout(request, description, model, dynamics, policy, initial, given)


def device_named(name: str) -> torch.device:
    """The torch device of that name, once it is known to work. Raises InputError."""
    try:
        device = torch.device(name)
    except Exception as error:  # torch lists every name that it ever had
        raise InputError(
            f"--device {name!r} can't be used: torch has no device of that name; cpu and cuda are "
            "usual ones"
        ) from error
    try:
        torch.zeros(1, device=device).item()  # which a device without numbers refuses
    except Exception as error:  # torch raises several kinds
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(f"--device {name!r} can't be used: {reason}") from error
    return device


def _is_elsewhere(model: torch.nn.Module, device: torch.device) -> bool:
    return any(part.device != device for part in (*model.parameters(), *model.buffers()))
