"""A real run's starts and actions, imagined by a world model and scored as it goes."""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import ImagineError
from imagine_cli.evaluation.real import RealRun, evaluation_seed
from imagine_cli.evaluation.scores import ScoreKeeper
from imagine_cli.progress import Progress
from imagine_cli.recording import RolloutHeader, RolloutWriter

if TYPE_CHECKING:
    from imagine_cli.belief import Belief
    from imagine_cli.propagation import Propagation

__all__ = ["LoadedModel", "imagine_run"]

_TOLD_EVERY = 0.1


@dataclass(frozen=True)
class LoadedModel:
    """A world model ready to imagine."""

    name: str
    module: Any
    path: str
    digest: str


def imagine_run(
    model: LoadedModel,
    propagation: Propagation | None,
    env: Any,
    about: EnvDescription,
    run: RealRun,
    seed: int,
    device: str,
    writing: tuple[str | Path, str, str, bool] | None,
    progress: Progress,
) -> tuple[ScoreKeeper, str, float]:
    """Imagine the run: the scores, which the engine records, the propagation, the seconds.

    ``propagation`` is None for a module, which is its own; ``seed`` is of what it draws at random.

    ``writing`` is (path, policy, command, overwrite) of a rollout file to write, or None.
    Raises ImagineError, with the model's name, where a belief is not finite.
    """
    import torch
    from torchrl.envs import GymWrapper

    from imagine_cli.evaluation.replay import GivenActions, Tee
    from imagine_cli.imagined_env import ImaginedEnv
    from imagine_cli.rollout.engine import Recorder, imagine_all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = GymWrapper(env, device=torch.device(device))
        imagined = ImaginedEnv(
            model.module, base, batch_size=[run.trajectories], propagation=propagation
        )
    used = imagined.propagation_used
    keeper = ScoreKeeper(run.observations, run.lengths)
    size = about.observation_size
    total = run.steps * run.trajectories
    named = model.name if propagation is None else f"{model.name}, {used}"
    progress.stage(f"imagining with {named}", total)
    done, told, tell = 0, 0, 0.0

    def on_step(count: int, _: Belief) -> None:
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
            path, policy, command, overwrite = writing
            header = RolloutHeader(
                command=command, env_id=about.id, env_kwargs=about.kwargs, policy=policy,
                propagation=used, seed=seed,
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
                wanted=dict.fromkeys(("action_var", "reward", "reward_var", "particles"), False),
                names=about.observation_names,
                seed=evaluation_seed(seed),
                on_step=on_step,
            )
        except ImagineError as error:
            raise type(error)(f"{named}: {error}") from error
    return keeper, used, time.perf_counter() - begun
