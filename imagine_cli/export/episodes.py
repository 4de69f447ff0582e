"""The trajectories of a rollout, one after the other, each up to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imagine_cli.memory import check_memory
from imagine_cli.recording import Rollout
from imagine_cli.recording.real_lengths import real_lengths


class Episode(NamedTuple):
    """One trajectory up to its end, of L steps, float64.

    Attributes:
        number: which one.
        mean, sd: of the observations ``(L+1, D)``; a real run's standard deviations are zero.
        action: means ``(L, F)``; one-hot where discrete.
        reward: means ``(L,)``; None where the file has none.
    """

    number: int
    mean: np.ndarray
    sd: np.ndarray
    action: np.ndarray
    reward: np.ndarray | None

    def terminated(self, rollout: Rollout, limit: int | None) -> np.ndarray:
        """``(L,)``: whether the env ended it there; not so where it was only cut, by our number
        of steps or by the env's own ``limit``, nor in imagination."""
        length = len(self.action)
        ended = bool(rollout.attributes.get("real")) and length not in (rollout.steps, limit)
        return np.asarray((np.arange(length) == length - 1) & ended)


def episodes(rollout: Rollout) -> Iterator[Episode]:
    """One after the other, as they are read."""
    for k in range(rollout.trajectories):
        mean = rollout.mean(k).astype(np.float64)
        length = int(real_lengths(mean[None], rollout.path)[0])
        var = np.diagonal(rollout.var(k, slice(length + 1)), axis1=-2, axis2=-1)
        reward = rollout.reward_mean(k, slice(length)) if "reward/mean" in rollout else None
        yield Episode(
            k,
            mean[: length + 1],
            np.sqrt(var.astype(np.float64)),
            rollout.action_mean(k, slice(length)).astype(np.float64),
            None if reward is None else reward.astype(np.float64),
        )


def held(rollout: Rollout) -> list[Episode]:
    """All at once. Raises InputError where memory can't hold them."""
    per_step = 4 * rollout.observation_size + (rollout.action_size or 0) + 2
    check_memory(rollout.trajectories * rollout.steps * per_step, "the numbers of the rollout")
    return list(episodes(rollout))


def is_imagined(rollout: Rollout) -> bool:
    """Whether it is no real run; what is made of it says so."""
    return not rollout.attributes.get("real")


def marks(rollout: Rollout) -> dict[str, str]:
    """What the metadata of a format say of where the numbers are from."""
    return {
        "imagined": "true" if is_imagined(rollout) else "false",
        "env_id": rollout.env_id or "",
        "policy": rollout.policy or "",
        "command": rollout.command or "",
    }
