"""Episodes of the real env under a policy: the one loop that steps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription, env_errors, reset_seed
from imagine_cli.errors import ImagineError

if TYPE_CHECKING:
    import gymnasium

    from imagine_cli.policies.base import Policy


class RealStep(NamedTuple):
    """One step of a real env, float64.

    ``observation`` and ``next_observation`` ``(D,)``; ``action`` ``(F,)`` as the env got it,
    one-hot where discrete and rounded to float32 where continuous.
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool


def real_episode(
    env: gymnasium.Env[Any, Any],
    about: EnvDescription,
    policy: Policy,
    *,
    seed: int,
    number: int,
    steps: int | None = None,
) -> Iterator[RealStep]:
    """The steps of episode ``number`` alone: see :func:`real_episodes`."""
    episode = real_episodes([env], about, policy, seed=seed, first=number, steps=steps)
    return (taken for _, taken in episode)


def real_episodes(
    envs: Sequence[gymnasium.Env[Any, Any]],
    about: EnvDescription,
    policy: Policy,
    *,
    seed: int,
    first: int,
    steps: int | None = None,
) -> Iterator[tuple[int, RealStep]]:
    """The steps of episodes ``first``, ``first + 1``, ..., side by side, each in its own env.

    Episode k goes from the reset with ``reset_seed(seed, k)``. The policy begins anew, sees each
    observation as a belief without variance, and acts with the mean of what it gives, for all
    episodes in one batch. An episode ends where the env terminates or truncates it, or after
    ``steps``.

    Yields:
        The number of an episode, and a step of it.

    Raises:
        ImagineError: an env fails, or gives an observation or a reward that is not finite.
    """
    going = list(range(len(envs)))
    observations: list[np.ndarray] = []
    for k in going:
        with env_errors(envs[k]):
            observations.append(_flat(envs[k].reset(seed=reset_seed(seed, first + k))[0]))
    belief = point(torch.from_numpy(np.stack(observations)))
    state = policy.begin(belief, torch.tensor([first + k for k in going]))
    step = 0
    while going and step != steps:
        with torch.no_grad():
            action, state = policy.act(step, belief, state)
        step, rows = step + 1, []
        for row, k in enumerate(going):
            taken = _step(envs[k], about, observations[k], action.mean[row].numpy())
            if not (np.isfinite(taken.next_observation).all() and np.isfinite(taken.reward)):
                raise ImagineError(
                    f"env {about.id!r} gave an observation or a reward that is not finite at step "
                    f"{step} of episode {first + k} (reset seed {reset_seed(seed, first + k)})"
                )
            yield first + k, taken
            observations[k] = taken.next_observation
            if not (taken.terminated or taken.truncated):
                rows.append(row)
        if len(rows) < len(going):
            going = [going[row] for row in rows]
            state = {name: part[rows] for name, part in state.items()}
        if going:
            belief = point(torch.from_numpy(np.stack([observations[k] for k in going])))


def _step(
    env: gymnasium.Env[Any, Any], about: EnvDescription, observation: np.ndarray, code: np.ndarray
) -> RealStep:
    taken = about.decode_action(code)
    with env_errors(env):
        following, reward, terminated, truncated, _ = env.step(taken)
    return RealStep(
        observation, about.encode_action(taken), _flat(following), float(reward),
        bool(terminated), bool(truncated),
    )  # fmt: skip


def _flat(observation: Any) -> np.ndarray:
    return np.array(observation, dtype=np.float64)
