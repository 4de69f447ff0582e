"""The engine ``local``: one shard after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from imagine_cli.belief import Belief
from imagine_cli.recording.shard import Shard, rows
from imagine_cli.rollout.engine import Engine, EngineProgress, RowEnd, Shards
from imagine_cli.rollout.shards import OnStep, imagine_shard

if TYPE_CHECKING:
    from imagine_cli.rollout.prepare import PreparedRollout


class LocalEngine(Engine):
    """In this process, in order; memory is that of one shard, whatever B and T are."""

    def run(self, rollout: PreparedRollout, shards: Shards, progress: EngineProgress) -> None:
        for row in rows(shards.shards):
            _imagine_row(rollout, row, shards, progress)


def _imagine_row(
    rollout: PreparedRollout, row: list[Shard], shards: Shards, progress: EngineProgress
) -> None:
    position: dict[str, np.ndarray] | None = None
    for shard in row:
        if shards.has(shard):
            position = shards.state(shard)
            if progress.on_step is not None:
                _tell(shards, shard, position, progress.on_step)
        else:
            progress.look()
            done = imagine_shard(rollout, shard, position, progress.on_step)
            progress.failures += done.failures
            shards.write(shard, done.numbers, done.position)
            position = done.position
    if position is not None:
        progress.row_ended(RowEnd.at(position))


def _tell(shards: Shards, shard: Shard, position: dict[str, np.ndarray], on_step: OnStep) -> None:
    """Every step of a shard that is there already, as imagining it tells them."""
    parts = ("mean", "var")
    mean, var = (torch.as_tensor(shards.read(shard, f"observation/{part}")) for part in parts)
    steps = shard.last_step - shard.first_step
    beliefs = [Belief(mean[:, k], var[:, k]) for k in range(1, steps)]
    end = Belief(*(torch.as_tensor(position[f"belief/{part}"]) for part in parts))
    for belief in (*beliefs, end):
        on_step(len(mean), belief)
