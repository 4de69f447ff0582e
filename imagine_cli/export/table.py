"""A rollout as a table, a row for each step: CSV or Parquet."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

import numpy as np

from imagine_cli.errors import require
from imagine_cli.export.episodes import Episode, episodes, is_imagined, marks
from imagine_cli.printable import printable, spreadsheet_text
from imagine_cli.recording import Rollout


def _names(rollout: Rollout) -> list[str]:
    """Of the columns; the last one marks what is no real run."""
    spreads = (f"sd {name}" for name in rollout.observation_names)
    actions = (f"action {name}" for name in rollout.action_names)
    reward = ["reward"] if "reward/mean" in rollout else []
    imagined = ["imagined"] if is_imagined(rollout) else []
    names = ["trajectory", "step", *rollout.observation_names, *spreads, *actions]
    return [*names, *reward, *imagined]


def _columns(episode: Episode, rollout: Rollout) -> list[np.ndarray]:
    """``(L+1,)`` each; the last step has no action and no reward, so NaN there."""
    rows = len(episode.mean)
    action = np.pad(episode.action, [(0, 1), (0, 0)], constant_values=np.nan)
    reward = [] if episode.reward is None else [np.append(episode.reward, np.nan)]
    numbers = [np.full(rows, episode.number), np.arange(rows)]
    imagined = [np.ones(rows, dtype=np.int64)] if is_imagined(rollout) else []
    return [*numbers, *episode.mean.T, *episode.sd.T, *action.T, *reward, *imagined]


def write_csv(rollout: Rollout, file: BinaryIO) -> None:
    """Names are made harmless to spreadsheets."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(spreadsheet_text, _names(rollout)))
    for episode in episodes(rollout):
        columns = (column.tolist() for column in _columns(episode, rollout))
        writer.writerows(zip(*columns, strict=True))
    text.flush()
    text.detach()


def write_parquet(rollout: Rollout, file: BinaryIO) -> None:
    """A row group for each trajectory."""
    require("parquet", "pyarrow")
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    names = [printable(name) for name in _names(rollout)]
    said = marks(rollout)
    pieces = (pyarrow.table(_columns(e, rollout), names, metadata=said) for e in episodes(rollout))
    first = next(pieces)
    with ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)
