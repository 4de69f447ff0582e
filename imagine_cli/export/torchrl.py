"""A rollout's transitions as a memory-mapped TensorDict, for torchrl's replay buffers."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from imagine_cli.environments import env_named, kwargs_named, opened_env
from imagine_cli.errors import DiskError
from imagine_cli.export.episodes import held, is_imagined
from imagine_cli.recording import Rollout


def write(
    rollout: Rollout, folder: Path, env: str | None = None, env_kwargs: dict[str, Any] | None = None
) -> None:
    """Of float32, as torchrl's envs are; trajectories numbered by ``("collector", "traj_ids")``."""
    limit = None
    if not is_imagined(rollout):
        kwargs = kwargs_named(rollout.env_kwargs, rollout.path, env_kwargs)
        with opened_env(env_named(rollout.env_id, rollout.path, env), kwargs) as (made, _):
            limit = made.spec.max_episode_steps if made.spec is not None else None
    whole = held(rollout)

    def rows(parts: Iterable[np.ndarray], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.concatenate(list(parts)), dtype=dtype)

    number = rows((np.full(len(e.action), e.number) for e in whole), torch.int64)
    last = torch.cat([number[1:] != number[:-1], torch.ones(1, dtype=torch.bool)])[:, None]
    terminated = rows((e.terminated(rollout, limit) for e in whole), torch.bool)[:, None]
    ends = {"done": last, "terminated": terminated, "truncated": last & ~terminated}
    discrete = any("=" in name for name in rollout.action_names)
    after = {"observation": rows(e.mean[1:] for e in whole), **ends}
    found = {
        "observation": rows(e.mean[:-1] for e in whole),
        "action": rows((e.action for e in whole), torch.int64 if discrete else torch.float32),
        **{name: torch.zeros_like(end) for name, end in ends.items()},
        "collector": {"traj_ids": number},
    }
    rewards = [e.reward for e in whole if e.reward is not None]
    if rewards:
        after["reward"] = rows(rewards)[:, None]
    if is_imagined(rollout):
        found["imagined"] = torch.ones_like(last)
        found["observation_sd"] = rows(e.sd[:-1] for e in whole)
        after["observation_sd"] = rows(e.sd[1:] for e in whole)
    made = TensorDict({**found, "next": after}, batch_size=[len(number)])
    if (
        made.bytes() > shutil.disk_usage(folder.parent).free
    ):  # a map of a full disk ends the process
        raise DiskError(f"there is no room for the {made.bytes() / 1e9:.3g} GB of {folder.name}")
    made.memmap(folder)
