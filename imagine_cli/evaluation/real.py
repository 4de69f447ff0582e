"""Trajectories of the real env, run or read from a file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, make_env
from imagine_cli.errors import InputError
from imagine_cli.memory import check_memory
from imagine_cli.progress import Progress, Silent
from imagine_cli.recording import RolloutHeader, write_rollout
from imagine_cli.seeds import Stream, derived_seed
from imagine_cli.transitions.reader import read_recordings
from imagine_cli.transitions.recording import Recording
from imagine_cli.transitions.transitions import Transitions

if TYPE_CHECKING:
    import gymnasium

    from imagine_cli.policies.base import Policy
    from imagine_cli.rollout.real import RealStep


@dataclass(frozen=True)
class RealRun:
    """B trajectories of a real env, of up to T steps each, float64.

    Attributes:
        observations: ``(B, T+1, D)``; NaN after a trajectory's end.
        actions: ``(B, T, F)`` as the env got them, one-hot where discrete. After a trajectory's
            end the last one goes on, so that a replay has an action everywhere.
        rewards: ``(B, T)``, NaN after the end; None where unknown.
        lengths: ``(B,)`` int64, how many steps each trajectory took: T, or fewer where the env
            terminated or truncated it.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray | None
    lengths: np.ndarray

    @property
    def trajectories(self) -> int:
        return len(self.observations)

    @property
    def steps(self) -> int:
        return int(self.actions.shape[1])

    def first(self, trajectories: int, steps: int) -> RealRun:
        """The first so many trajectories, cut to so many steps."""
        rows = slice(trajectories)
        return RealRun(
            self.observations[rows, : steps + 1],
            self.actions[rows, :steps],
            None if self.rewards is None else self.rewards[rows, :steps],
            np.minimum(self.lengths[rows], steps),
        )


def evaluation_seed(seed: int) -> int:
    """The seed of the real run that ``--seed`` stands for.

    Not the seed itself, so that rollout, fit and evaluation of one seed see different episodes.
    """
    return derived_seed(seed, Stream.EVALUATION)


def run_real(
    env: gymnasium.Env[Any, Any],
    about: EnvDescription,
    policy: Policy,
    *,
    steps: int,
    trajectories: float,
    seed: int,
    total: int | None = None,
    progress: Progress | None = None,
) -> RealRun:
    """Run the real env: trajectory k from the reset with ``reset_seed(seed, k)``.

    The policy sees each observation as a belief without variance and acts with the mean of what
    it gives. A trajectory ends early where the env terminates or truncates it.

    Args:
        env, about: the env and what it is; of a policy that is faster in many at once there are
            copies of it.
        policy: what acts.
        steps: T, the most steps of a trajectory.
        trajectories: B, how many; infinity where ``total`` ends the run.
        seed: of the resets.
        total: the most steps of all trajectories together.
        progress: told of what goes on.

    Raises:
        ImagineError: an observation or a reward that is not finite.
    """
    from imagine_cli.rollout.real import real_episodes

    progress = progress or Silent()
    whole = int(trajectories * steps) if total is None else total
    check_memory(whole * (about.observation_size + about.action_size + 1), f"{whole} real steps")
    progress.stage("running the real env", whole)
    episodes: list[list[RealStep]] = []
    left = whole
    with ExitStack() as stack:
        envs = [env]
        if total is None and env.spec is not None:
            for _ in range(min(int(trajectories), policy.episodes_at_once) - 1):
                envs.append(make_env(about.id, about.kwargs))
                stack.callback(envs[-1].close)
        while len(episodes) < trajectories and left > 0:
            most = steps if total is None else min(steps, left)
            first = len(episodes)
            count = int(min(len(envs), trajectories - first))
            episodes.extend([] for _ in range(count))
            for number, taken in real_episodes(
                envs[:count], about, policy, seed=seed, first=first, steps=most
            ):
                episodes[number].append(taken)
            done = count * steps if total is None else len(episodes[-1])
            left -= done
            progress.advance(done)
    numbers = np.repeat(np.arange(len(episodes)), [len(each) for each in episodes])
    return as_real_run(Transitions.of(list(chain(*episodes)), numbers.tolist()), steps)


def as_real_run(data: Transitions, steps: int | None = None) -> RealRun:
    """Its episodes as trajectories of up to ``steps`` steps; of the longest one's if None.

    Raises InputError where memory can't hold them side by side.
    """
    _, first, episode, lengths = np.unique(
        data.episode, return_index=True, return_inverse=True, return_counts=True
    )
    count, width = len(lengths), steps or int(lengths.max())
    (_, size), at = data.observations.shape, np.arange(len(data)) - first[episode]
    check_memory(count * width * (size + data.actions.shape[1]), f"{count} real trajectories")
    observations = np.full((count, width + 1, size), np.nan)
    observations[episode, at] = data.observations
    observations[episode, at + 1] = data.next_observations
    rewards = np.full((count, width), np.nan)
    rewards[episode, at] = data.rewards
    actions = data.actions[first[:, None] + np.minimum(np.arange(width), lengths[:, None] - 1)]
    known = not np.isnan(data.rewards).all()
    return RealRun(observations, actions, rewards if known else None, lengths)


def write_real(
    run: RealRun,
    path: str | Path,
    about: EnvDescription,
    *,
    policy: str,
    seed: int,
    command: str,
    overwrite: bool = False,
) -> None:
    """Write a real run as a rollout file of zero variance with the attribute ``real``.

    After a trajectory's end the means and rewards are NaN. Raises as write_rollout does.
    """
    header = RolloutHeader(
        command=command, env_id=about.id, env_kwargs=about.kwargs, policy=policy,
        propagation="none", seed=seed, steps=run.steps, trajectories=run.trajectories,
        model_path="", model_sha256="", model_kind="real",
        observation_names=about.observation_names, action_names=about.action_names,
        observation_low=about.observation_low, observation_high=about.observation_high,
        extra={"real": True},
    )  # fmt: skip
    numbers = {
        "observation/mean": run.observations,
        "observation/var": np.zeros((*run.observations.shape, about.observation_size)),
        "action/mean": run.actions,
    }
    if run.rewards is not None:
        numbers["reward/mean"] = run.rewards
    write_rollout(path, header, numbers, overwrite=overwrite)


def read_real(source: str | Path, columns: str | None = None) -> Recording:
    """A real run that was recorded, in any format.

    Raises:
        InputError: what can't be read, or is imagined.
    """
    (found,) = read_recordings([source], columns)
    if found.imagined:
        raise InputError(
            f"{source} is an imagined rollout, not a real one; record a real one with "
            "imagine evaluate --record real.h5"
        )
    return found
