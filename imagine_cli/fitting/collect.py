"""Transitions of a real env under a policy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription, describe, env_errors, make_env, reset_seed
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.policies.base import Policy
from imagine_cli.progress import Progress, Silent
from imagine_cli.world_models.gp.base import LARGEST

if TYPE_CHECKING:
    import gymnasium

__all__ = ["Transitions", "check_sizes", "collect"]


@dataclass(frozen=True)
class Transitions:
    """N steps of a real env, all float64 but ``episode``.

    Attributes:
        observations: ``(N, D)``.
        actions: ``(N, F)``, one-hot where the env's are discrete.
        next_observations: ``(N, D)``; where an episode ends, the observation it ended with.
        rewards: ``(N,)``.
        episode: ``(N,)`` int64, the number of the reset that a step's episode began with.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    rewards: np.ndarray
    episode: np.ndarray

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, rows: Any) -> Transitions:
        """Those of the rows, by slice, mask or indices."""
        return Transitions(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def inputs(self) -> np.ndarray:
        """Observations and actions side by side, ``(N, D+F)``."""
        return np.concatenate([self.observations, self.actions], axis=1)

    @property
    def differences(self) -> np.ndarray:
        """Next observation minus observation, ``(N, D)``."""
        return np.asarray(self.next_observations - self.observations)


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
    size = about.observation_size
    data = Transitions(
        observations=np.empty((steps, size)),
        actions=np.empty((steps, about.action_size)),
        next_observations=np.empty((steps, size)),
        rewards=np.empty(steps),
        episode=np.empty(steps, dtype=np.int64),
    )
    progress.stage("running the env", steps)
    episode, step = -1, 0
    observation = np.empty(size)
    ended = True
    for row in range(steps):
        if ended:
            episode, step = episode + 1, 0
            with env_errors(env):
                observation = env.reset(seed=reset_seed(seed, episode))[0].astype(np.float64)
            policy.start(episode, 1)
        action, code = _act(about, policy, step, observation)
        with env_errors(env):
            following, reward, terminated, truncated, _ = env.step(action)
        data.observations[row] = observation
        data.actions[row] = code
        data.next_observations[row] = following
        data.rewards[row] = reward
        data.episode[row] = episode
        if not (np.isfinite(data.next_observations[row]).all() and np.isfinite(data.rewards[row])):
            raise ImagineError(
                f"env {about.id!r} gave an observation or a reward that is not finite at step "
                f"{step} of episode {episode} (reset seed {reset_seed(seed, episode)})"
            )
        observation = data.next_observations[row]
        step += 1
        ended = bool(terminated or truncated)
        progress.advance()
    return data


def _act(
    about: EnvDescription, policy: Policy, step: int, observation: np.ndarray
) -> tuple[Any, np.ndarray]:
    """The action as the env takes it, and as it is recorded ``(F,)``."""
    belief = point(torch.tensor(observation, dtype=torch.float64).unsqueeze(0))
    with torch.no_grad():
        mean = policy.act(step, belief).mean
    action = about.decode_action(mean[0].numpy())
    return action, about.encode_action(action)
