"""``imagine rollout`` as one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.recording import RolloutHeader, RolloutWriter
from imagine_cli.recording.schema import chunk_lengths
from imagine_cli.rollout.arguments import asked_for, used_files

if TYPE_CHECKING:
    import torch

    from imagine_cli.belief import Belief
    from imagine_cli.propagation import Propagation
    from imagine_cli.rollout.engine import Spread

__all__ = ["RolloutSummary", "run_rollout"]


@dataclass(frozen=True)
class RolloutSummary:
    """What a rollout did.

    ``start_sd`` and ``end_sd`` are root-mean-square standard deviations over the trajectories,
    ``(D,)``, in the observation's units. ``failed`` trajectories stopped being finite; their
    deviations are no part of ``end_sd``.
    """

    path: Path
    env_id: str
    steps: int
    trajectories: int
    observation_names: list[str]
    start_sd: np.ndarray
    end_sd: np.ndarray
    seconds: float
    failed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine rollout --json`` prints it."""
        return {
            "path": str(self.path),
            "env_id": self.env_id,
            "steps": self.steps,
            "trajectories": self.trajectories,
            "observation_names": self.observation_names,
            "start_sd": self.start_sd.tolist(),
            "end_sd": [None if sd != sd else sd for sd in self.end_sd.tolist()],
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
        }


def run_rollout(
    env_id: str,
    model: str | Path | torch.nn.Module,
    *,
    steps: int = 50,
    trajectories: int = 1,
    policy: str = "random",
    start: str = "reset",
    propagation: str | Propagation | None = None,
    particles: int | None = None,
    members: str | None = None,
    resample: bool = False,
    save_particles: bool = False,
    seed: int = 0,
    output: str | Path = "rollout.h5",
    env_kwargs: dict[str, Any] | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    compiled: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    on_nonfinite: str = "stop",
    trust_pickle: bool = False,
    command: str = "imagine_cli.run_rollout",
    on_step: Callable[[int, Belief], None] | None = None,
    on_block: Callable[[], None] | None = None,
) -> RolloutSummary:
    """Imagine trajectories with a world model and write them to a rollout file.

    Args:
        env_id: Gymnasium id of the real env; it lends its specs and its resets.
        model: a checkpoint's path, or a world model (any TensorDictModule), which stays as it is.
        steps: T, 1 or more.
        trajectories: B, 1 or more.
        policy: as :func:`imagine_cli.policies.make_policy` takes it.
        start: as :func:`imagine_cli.rollout.starts.make_start` takes it.
        propagation: how the belief goes through the model: ``"moments"``, ``"linearized"``,
            ``"unscented"``, ``"particles"``, a propagation, or None for the model's own default.
        particles, members, resample: of the propagation ``"particles"``, as
            :class:`imagine_cli.propagation.particles.Particles` takes them.
        save_particles: write every particle to the file too.
        seed: 0 or more. The same seed and inputs give the same numbers.
        output: the file; it appears when it is complete.
        env_kwargs: arguments for the env.
        dtype: ``"float32"`` or ``"float64"`` of beliefs and file; the model's own if None.
        device: where the model computes.
        compiled: predict by compiled functions where the model has any, see
            :meth:`imagine_cli.world_models.WorldModel.compile`.
        overwrite: replace a file that is there.
        resume: go on from ``<output>.partial``, which an interrupt, a kill or a disk error left
            of a rollout with the same arguments. The file becomes what it would have been, to
            the byte. Where there is none it begins anew.
        on_nonfinite: ``"stop"``: a belief that is not finite is an error; ``"mask"``: the rest of
            that trajectory is NaN, and the others go on.
        trust_pickle: load a pickled model, running whatever code it names.
        command: what the file says made it.
        on_step: called after each step with (how many trajectories it advanced, their beliefs:
            ``(b, D)`` and ``(b, D, D)``).
        on_block: called before each block of steps; after what it raises, and after an interrupt,
            ``<output>.partial`` stays.

    Raises:
        InputError: arguments or files that can't be used. Nothing has been written then.
        DiskError: the output could not be written; ``<output>.partial`` stays.
        ImagineError: the rollout failed; no file is left.
    """
    if on_nonfinite not in ("stop", "mask"):
        raise InputError(f"--on-nonfinite {on_nonfinite!r} is not stop or mask")
    for name, value in (("steps", steps), ("trajectories", trajectories)):
        if value < 1:
            raise InputError(f"--{name} is {value}; it must be 1 or more")
    if seed < 0:
        raise InputError(f"--seed is {seed}; it must be 0 or more")
    real = make_env(env_id, env_kwargs)
    try:
        description = describe(real, env_kwargs)
        return _run(
            real, description, model, steps=steps, trajectories=trajectories, policy=policy,
            start=start, propagation=propagation, save_particles=save_particles,
            parameters={
                "particles": particles, "members": members, "resample": resample or None,
            },
            seed=seed, output=Path(output), dtype=dtype, device=device, compiled=compiled,
            overwrite=overwrite, resume=resume, on_nonfinite=on_nonfinite,
            trust_pickle=trust_pickle, command=command, on_step=on_step, on_block=on_block,
            asked=asked_for(
                propagation, env=env_id, env_kwargs=env_kwargs or {}, policy=policy, start=start,
                steps=steps, trajectories=trajectories, particles=particles, members=members,
                resample=resample, save_particles=save_particles, seed=seed, dtype=dtype,
                device=device, on_nonfinite=on_nonfinite, trust_pickle=trust_pickle,
                **({"compiled": True} if compiled else {}),
            ),
        )  # fmt: skip
    finally:
        real.close()


def _run(
    real: Any,
    description: EnvDescription,
    model: str | Path | torch.nn.Module,
    *,
    steps: int,
    trajectories: int,
    policy: str,
    start: str,
    propagation: str | Propagation | None,
    save_particles: bool,
    parameters: dict[str, Any],
    seed: int,
    output: Path,
    dtype: str | None,
    device: str,
    compiled: bool,
    overwrite: bool,
    resume: bool,
    on_nonfinite: str,
    trust_pickle: bool,
    command: str,
    on_step: Callable[[int, Belief], None] | None,
    on_block: Callable[[], None] | None,
    asked: str,
) -> RolloutSummary:
    import torch
    from torchrl.envs import GymWrapper

    from imagine_cli.imagined_env import ImaginedEnv
    from imagine_cli.policies import make_policy
    from imagine_cli.propagation.particles import Particles
    from imagine_cli.rollout.engine import imagine_all, room
    from imagine_cli.rollout.loading import device_named, load_for, propagated
    from imagine_cli.rollout.starts import make_start
    from imagine_cli.world_models import WorldModel
    from imagine_cli.world_models.belief_module import writes_reward

    place = device_named(device)
    world_model, path, digest = load_for(model, description, trust_pickle, place, compiled, dtype)
    world_model, way = propagated(world_model, propagation, parameters, description)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = ImaginedEnv(
            world_model,
            GymWrapper(real, device=place),
            batch_size=[trajectories],
            propagation=way,
        )
    if save_particles and not isinstance(way, Particles):
        raise InputError(
            "--save-particles needs particles, and the propagation is "
            f"{env.propagation_used}; give --propagation particles"
        )
    acting = make_policy(policy, description, seed=seed, dtype=env.belief_dtype, device=place)
    acting.check(steps, trajectories)
    starting = make_start(start, real, description, seed=seed, count=trajectories)
    reward = env.has_reward
    wanted = {"action_var": acting.gives_variance, "reward": reward, "reward_var": reward}
    wanted["particles"] = save_particles
    if reward and not isinstance(world_model, WorldModel):
        wanted["reward_var"] = writes_reward(world_model, "var")
    header = RolloutHeader(
        command=command,
        env_id=description.id,
        env_kwargs=description.kwargs,
        policy=policy,
        propagation=env.propagation_used,
        seed=seed,
        steps=steps,
        trajectories=trajectories,
        model_path=path,
        model_sha256=digest,
        model_kind=getattr(world_model, "kind", "module"),
        observation_names=description.observation_names,
        action_names=description.action_names,
        observation_low=description.observation_low,
        observation_high=description.observation_high,
        extra={
            "start": start,
            "device": str(place),
            "arguments": asked,
            "files_sha256": used_files(policy, start),
            **({"on_nonfinite": on_nonfinite} if on_nonfinite == "mask" else {}),
        },
    )
    dtype_name = str(env.belief_dtype).removeprefix("torch.")
    size = len(description.observation_names)
    chunks = chunk_lengths(trajectories, steps, size**2 * np.dtype(dtype_name).itemsize)
    numbers = 0 if way is None else way.numbers(world_model)
    kept = way.particles * size if save_particles and isinstance(way, Particles) else 0
    together, _ = room(chunks, trajectories, numbers, kept)
    began = time.perf_counter()
    with (
        torch.no_grad(),
        RolloutWriter(
            output,
            header,
            dtype=dtype_name,
            together=together,
            action_var=wanted["action_var"],
            reward=wanted["reward"],
            reward_var=wanted["reward_var"],
            particles=way.particles if save_particles and isinstance(way, Particles) else None,
            overwrite=overwrite,
            keep=True,
            resume=resume,
        ) as writer,
    ):
        if writer.replaces:
            warnings.warn(
                f"{output}.partial, which an interrupted rollout left, is replaced; with --resume "
                "it would have been gone on from",
                stacklevel=2,
            )
        if resume and writer.leftover is None:
            warnings.warn(
                f"there is no {output}.partial to go on from; the rollout begins anew",
                stacklevel=2,
            )
        spread = imagine_all(
            env,
            acting,
            starting,
            writer,
            steps=steps,
            trajectories=trajectories,
            action_size=description.action_size,
            wanted=wanted,
            names=description.observation_names,
            seed=seed,
            on_step=on_step,
            mask=on_nonfinite == "mask",
            recorded=writer.leftover,
            on_block=on_block,
        )
    if spread.failed:
        warnings.warn(_failed(spread, trajectories), stacklevel=2)
    return RolloutSummary(
        path=output,
        env_id=description.id,
        steps=steps,
        trajectories=trajectories,
        observation_names=description.observation_names,
        start_sd=spread.start,
        end_sd=spread.end,
        seconds=time.perf_counter() - began,
        failed=spread.failed,
    )


def _failed(spread: Spread, trajectories: int) -> str:
    sentence = (
        f"{spread.failed} of {trajectories} trajectories stopped being finite; the rest of each "
        "is NaN"
    )
    if not spread.failures:
        return sentence
    first = min(spread.failures, key=lambda failure: (failure.step, failure.trajectory))
    return (
        f"{sentence}; the first was trajectory {first.trajectory}, at step {first.step}: "
        f"{first.reason}"
    )
