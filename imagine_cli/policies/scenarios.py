"""What a planner draws at random: everything that is drawn follows from its key and the step."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from imagine_cli.seeds import Stream, seed_sequence


class Purpose(IntEnum):
    """The second word of a Philox counter; the third is the step."""

    CANDIDATES = 0
    SCENARIOS = 1


def keys(seed: int, trajectories: Tensor) -> Tensor:
    """The Philox keys of trajectories ``(B,)``: ``(B, 2)``, their uint64 as int64."""
    sequences = (seed_sequence(seed, Stream.PLANNER, i) for i in trajectories.tolist())
    rows = [sequence.generate_state(2, np.uint64) for sequence in sequences]
    return torch.from_numpy(np.array(rows, dtype=np.uint64).reshape(-1, 2).view(np.int64))


def generators(keys: Tensor, step: int, purpose: Purpose) -> list[np.random.Generator]:
    """One for each of the keys ``(B, 2)``."""
    counter = np.array([0, purpose, step, 0], dtype=np.uint64)
    rows = keys.cpu().numpy().view(np.uint64)
    return [np.random.Generator(np.random.Philox(key=key, counter=counter)) for key in rows]


class Scenarios:
    """The noise that B trajectories' candidates are judged by: P draws each, a
    :class:`~imagine_cli.propagation.noise.Noise` for a batch ``(B, C * P)``.

    All candidates, of every iteration, meet the same P scenarios (common random numbers, as
    PEGASUS has them, Ng & Jordan 2000): what differs between them is their own doing.
    """

    def __init__(self, draws: Sequence[np.random.Generator], particles: int, like: Tensor) -> None:
        self._draws, self._particles, self._like = draws, particles, like
        self._drawn: list[Tensor] = []
        self._candidates = self._place = 0

    def rewind(self, candidates: int) -> Scenarios:
        """Itself, from the beginning, for so many candidates."""
        self._candidates, self._place = candidates, 0
        return self

    def normal(self, *shape: int) -> Tensor:
        if self._place == len(self._drawn):
            numbers = np.empty((len(self._draws), self._particles, *shape))
            for row, draw in zip(numbers, self._draws, strict=True):
                draw.standard_normal(out=row)
            self._drawn.append(torch.from_numpy(numbers).to(self._like))
        return self._next()

    def shares(self, count: int, among: int) -> Tensor:
        """Dealt out evenly among the P particles of a candidate."""
        if self._place == len(self._drawn):
            rows = [
                (draw.permutation(self._particles * count) + draw.integers(among)) % among
                for draw in self._draws
            ]
            numbers = torch.from_numpy(np.stack(rows)).view(-1, self._particles, count)
            self._drawn.append(numbers.to(self._like.device))
        return self._next()

    def _next(self) -> Tensor:
        numbers = self._drawn[self._place]
        self._place += 1
        copies = numbers.unsqueeze(1).expand(-1, self._candidates, *numbers.shape[1:])
        return copies.flatten(1, 2)
