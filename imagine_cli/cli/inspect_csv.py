"""``imagine inspect --csv``: every belief of a rollout, a line for each dimension."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import numpy as np

from imagine_cli.printable import spreadsheet_text

if TYPE_CHECKING:
    from imagine_cli.recording.reader import Rollout

HEADER = ("trajectory", "step", "dimension", "mean", "sd")


def write_csv(
    rollout: Rollout, stream: TextIO, *, trajectory: int | None = None, step: int | None = None
) -> None:
    """Write lines in the order of HEADER as they are read, sorted by trajectory, then step.

    Numbers have all their digits; what is not finite is ``nan``, ``inf`` or ``-inf``.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    names = [spreadsheet_text(name) for name in rollout.observation_names]
    for rows, steps in _pieces(rollout, trajectory, step):
        mean = rollout.mean(rows, steps).astype(np.float64)
        var = np.diagonal(rollout.var(rows, steps), axis1=-2, axis2=-1)
        with np.errstate(invalid="ignore"):
            sd = np.sqrt(var.astype(np.float64))
        for i, (means, sds) in enumerate(zip(mean.tolist(), sd.tolist(), strict=True)):
            for j, (here, spread) in enumerate(zip(means, sds, strict=True)):
                writer.writerows(
                    (rows.start + i, steps.start + j, name, m, s)
                    for name, m, s in zip(names, here, spread, strict=True)
                )


def _pieces(
    rollout: Rollout, trajectory: int | None, step: int | None
) -> Iterator[tuple[slice, slice]]:
    first, last = (0, rollout.trajectories) if trajectory is None else (trajectory, trajectory + 1)
    if step is not None:
        count = max(1, 2**21 // rollout.observation_size**2)
        for low in range(first, last, count):
            yield slice(low, min(low + count, last)), slice(step, step + 1)
    elif next(rollout.slabs())[1].stop == rollout.steps + 1:
        yield from rollout.slabs(trajectory=trajectory)
    else:  # pieces that end midway through time: one trajectory after the other keeps the order
        for number in range(first, last):
            yield from rollout.slabs(trajectory=number)
