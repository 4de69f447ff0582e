"""Transitions of a real env under a policy."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.memory import check_memory
from imagine_cli.policies.base import Policy
from imagine_cli.progress import Progress, Silent
from imagine_cli.rollout.real import RealStep, real_episode
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models.gp.base import LARGEST

if TYPE_CHECKING:
    import gymnasium


def collect(
    env: str | gymnasium.Env[Any, Any],
    policy: Policy,
    *,
    steps: int,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Transitions:
    """Step the real env ``steps`` times under ``policy``.

    Episode k starts from a reset with ``reset_seed(seed, k)`` and ends where the env terminates
    or truncates it. The policy starts anew with each episode, sees the observation as a belief
    without variance, and acts with the mean of what it gives. Actions are recorded as the env
    got them: continuous ones rounded to float32.

    Args:
        env: an env id (with ``env_kwargs``), which is made and closed here, or an env, which
            stays open.

    Raises:
        InputError: ``steps`` is not positive, or an env that imagine can't use.
        ImagineError: an observation or a reward that is not finite.
    """
    if steps < 1:
        raise InputError(f"the number of steps to collect must be 1 or more, not {steps}")
    real = make_env(env, env_kwargs) if isinstance(env, str) else env
    try:
        return _collect(real, policy, steps, seed, progress or Silent())
    finally:
        if isinstance(env, str):
            real.close()


def check_sizes(data: Transitions, names: list[str]) -> None:
    """Raises InputError, naming step, episode and dimension, for numbers too large to fit to."""
    columns = {name: data.next_observations[:, k] for k, name in enumerate(names)}
    columns |= {f"action {k}": data.actions[:, k] for k in range(data.actions.shape[1])}
    columns["reward"] = data.rewards
    for name, values in columns.items():
        bad = np.flatnonzero(np.abs(values) > LARGEST)
        if len(bad):
            row = int(bad[0])
            step = row - int(np.searchsorted(data.episode, data.episode[row]))
            raise InputError(
                f"{name} is {values[row]:.3g} at step {step} of episode {data.episode[row]}, and "
                f"numbers beyond {LARGEST:g} can't be fitted to; scale it"
            )


def _collect(
    env: gymnasium.Env[Any, Any], policy: Policy, steps: int, seed: int, progress: Progress
) -> Transitions:
    about = describe(env)
    a_step = 2 * about.observation_size + about.action_size + 2
    check_memory(steps * a_step, f"{steps} steps of {about.id}")
    progress.stage("running the env", steps)
    taken: list[RealStep] = []
    numbers: list[int] = []
    for episode in itertools.count():
        left = steps - len(taken)
        if not left:
            break
        for step in real_episode(env, about, policy, seed=seed, number=episode, steps=left):
            taken.append(step)
            numbers.append(episode)
            progress.advance()
    return Transitions.of(taken, numbers)
