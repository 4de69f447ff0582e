"""Where the random numbers of a propagation come from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imagine_cli.seeds import Stream, seed_sequence


class Noise(Protocol):
    """Random numbers for a batch of shape ``*B``."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers ``(*B, *shape)``."""

    def shares(self, count: int, among: int) -> Tensor:
        """``count`` whole numbers from 0 to ``among - 1``, ``(*B, count)`` int64.

        Each is uniform, and together they are as even as can be: every value comes up
        ``count / among`` times, rounded down or up, in random order.
        """


class TorchNoise:
    """From a generator of torch; from torch's own if None, which ``torch.manual_seed`` repeats."""

    def __init__(
        self,
        batch: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self._batch, self._dtype, self._device = tuple(batch), dtype, device
        self._generator = generator

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(
            (*self._batch, *shape),
            dtype=self._dtype,
            device=self._device,
            generator=self._generator,
        )

    def shares(self, count: int, among: int) -> Tensor:
        order = self._uniform(count).argsort(-1)
        return (order + (self._uniform(1) * among).long()) % among

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(
            (*self._batch, count),
            dtype=torch.float64,
            device=self._device,
            generator=self._generator,
        )


class RowNoise:
    """From a stream of its own for each row of a batch ``(B,)``; drawn in float64 and rounded."""

    def __init__(
        self,
        streams: Sequence[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device | str | None = None,
    ) -> None:
        self._made, self._dtype, self._device = streams, dtype, device

    @property
    def _streams(self) -> Sequence[np.random.Generator]:
        return self._made

    def normal(self, *shape: int) -> Tensor:
        numbers = np.empty((len(self._streams), *shape))
        for row, stream in zip(numbers, self._streams, strict=True):
            stream.standard_normal(out=row)
        return torch.from_numpy(numbers).to(device=self._device, dtype=self._dtype)

    def shares(self, count: int, among: int) -> Tensor:
        numbers = np.empty((len(self._streams), count), dtype=np.int64)
        for row, stream in zip(numbers, self._streams, strict=True):
            row[:] = (stream.permutation(count) + stream.integers(among)) % among
        return torch.from_numpy(numbers).to(self._device)


class TrajectoryNoise(RowNoise):
    """A stream of its own for each of the trajectories ``first`` to ``first + count - 1``.

    Trajectory i draws from Philox, keyed by ``SeedSequence(seed, spawn_key=(2, i))``, one number
    after the other; so what it draws depends on the seed, i and what it drew before alone, not on
    which trajectories are computed beside it.
    """

    def __init__(
        self,
        seed: int,
        first: int,
        count: int,
        dtype: torch.dtype,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__([], dtype, device)
        self._seed, self._numbers = seed, range(first, first + count)

    def only(self, k: int) -> TrajectoryNoise:
        """The stream of the k-th of its trajectories alone: what one draws, both have drawn."""
        other = copy(self)
        other._numbers, other._made = self._numbers[k : k + 1], self._streams[k : k + 1]
        return other

    def state(self) -> np.ndarray:
        """Where each stream stands, ``(B, 13)`` uint64; ``(B, 0)`` where nothing was drawn yet."""
        rows = [_numbers_of(stream.bit_generator.state) for stream in self._made]
        return np.array(rows, dtype=np.uint64).reshape(len(self._numbers), -1)

    def go_to(self, state: np.ndarray) -> None:
        """Draw on from where :meth:`state` was taken."""
        self._made = []
        if state.shape[1]:
            for stream, row in zip(self._streams, state.tolist(), strict=True):
                stream.bit_generator.state = _philox_state(row)

    @property
    def _streams(self) -> Sequence[np.random.Generator]:
        if not self._made:  # most propagations draw nothing
            sequences = (seed_sequence(self._seed, Stream.PROPAGATION, i) for i in self._numbers)
            self._made = [np.random.Generator(np.random.Philox(one)) for one in sequences]
        return self._made


def _numbers_of(state: Any) -> list[int]:
    inner = state["state"]
    single = (state[name] for name in ("buffer_pos", "has_uint32", "uinteger"))
    return [*inner["counter"].tolist(), *inner["key"].tolist(), *state["buffer"].tolist(), *single]


def _philox_state(row: list[int]) -> dict[str, Any]:
    def words(first: int, last: int) -> np.ndarray:
        return np.array(row[first:last], dtype=np.uint64)

    return {
        "bit_generator": "Philox",
        "state": {"counter": words(0, 4), "key": words(4, 6)},
        "buffer": words(6, 10),
        "buffer_pos": row[10],
        "has_uint32": row[11],
        "uinteger": row[12],
    }
