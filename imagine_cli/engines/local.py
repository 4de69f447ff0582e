"""The engine ``local``: one shard after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from imagine_cli.belief import Belief
from imagine_cli.rollout.engine import Engine, EngineProgress, Shards
from imagine_cli.rollout.shards import OnStep, imagine_shard

if TYPE_CHECKING:
    from imagine_cli.recording.shard import Shard
    from imagine_cli.rollout.prepare import PreparedRollout


class LocalEngine(Engine):
    """In this process, in order; memory is that of one shard, whatever B and T are."""

    def run(self, rollout: PreparedRollout, shards: Shards, progress: EngineProgress) -> None:
        position: dict[str, np.ndarray] | None = None
        for shard in shards.shards:
            before = None if shard.first_step == 0 else position
            if shards.has(shard):
                position = shards.state(shard)
                if progress.on_step is not None:
                    _tell(shards, shard, position, progress.on_step)
            else:
                if progress.on_shard is not None:
                    progress.on_shard()
                done = imagine_shard(rollout, shard, before, progress.on_step)
                progress.imagined(done)
                shards.write(shard, done.numbers, done.position)
                position = done.position
            if shard.last_step == rollout.request.steps:
                progress.at_end(position)


def _tell(shards: Shards, shard: Shard, position: dict[str, np.ndarray], on_step: OnStep) -> None:
    """Every step of a shard that is there already, as imagining it tells them."""
    parts = ("mean", "var")
    mean, var = (torch.as_tensor(shards.read(shard, f"observation/{part}")) for part in parts)
    steps = shard.last_step - shard.first_step
    beliefs = [Belief(mean[:, k], var[:, k]) for k in range(1, steps)]
    end = Belief(*(torch.as_tensor(position[f"belief/{part}"]) for part in parts))
    for belief in (*beliefs, end):
        on_step(len(mean), belief)
