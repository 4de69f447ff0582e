"""Steps of real envs, to hold rewards and terminations against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagine_cli.environments import describe, make_env

Act = Callable[[np.ndarray], Any]


class Steps(NamedTuple):
    """``x``, ``x_next`` ``(T, D)``, ``u`` ``(T, F)``, ``reward`` and ``terminated`` ``(T,)``."""

    x: Tensor
    u: Tensor
    x_next: Tensor
    reward: Tensor
    terminated: Tensor


def real_steps(
    env_id: str, kwargs: dict[str, Any], act: Act | None = None, count: int = 1000
) -> Steps:
    """``count`` steps, reset wherever an episode ends; random actions, every third if ``act``."""
    env = make_env(env_id, kwargs)
    described = describe(env, kwargs)
    env.action_space.seed(0)
    rows, resets = [], 0
    x, _ = env.reset(seed=0)
    for step in range(count):
        action = env.action_space.sample() if act is None or step % 3 == 0 else act(x)
        x_next, reward, terminated, truncated, _ = env.step(action)
        rows.append((x, described.encode_action(action), x_next, reward, terminated))
        x = x_next
        if terminated or truncated:
            resets += 1
            x, _ = env.reset(seed=resets)
    env.close()
    parts = [torch.as_tensor(np.array(part, dtype=np.float64)) for part in zip(*rows, strict=True)]
    return Steps(*parts[:4], parts[4].bool())
