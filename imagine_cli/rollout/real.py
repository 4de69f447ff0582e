"""Episodes of the real env under a policy: the one loop that steps it."""

from __future__ import annotations

from collections.abc import Iterator
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
    """The steps of episode ``number``, from the reset with ``reset_seed(seed, number)``.

    The policy begins anew, sees each observation as a belief without variance, and acts with the
    mean of what it gives. The episode ends where the env terminates or truncates it, or after
    ``steps``.

    Raises:
        ImagineError: the env fails, or gives an observation or a reward that is not finite.
    """
    with env_errors(env):
        observation = _flat(env.reset(seed=reset_seed(seed, number))[0])
    belief = point(torch.from_numpy(observation).unsqueeze(0))
    state = policy.begin(belief, torch.tensor([number]))
    step, ended = 0, False
    while not ended and step != steps:
        with torch.no_grad():
            action, state = policy.act(step, belief, state)
        taken = about.decode_action(action.mean[0].numpy())
        with env_errors(env):
            following, reward, terminated, truncated, _ = env.step(taken)
        after = _flat(following)
        step += 1
        if not (np.isfinite(after).all() and np.isfinite(float(reward))):
            raise ImagineError(
                f"env {about.id!r} gave an observation or a reward that is not finite at step "
                f"{step} of episode {number} (reset seed {reset_seed(seed, number)})"
            )
        ended = bool(terminated or truncated)
        code = about.encode_action(taken)
        yield RealStep(observation, code, after, float(reward), bool(terminated), bool(truncated))
        observation, belief = after, point(torch.from_numpy(after).unsqueeze(0))


def _flat(observation: Any) -> np.ndarray:
    return np.array(observation, dtype=np.float64)
