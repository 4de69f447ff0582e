"""The policy ``random``: actions as the env's own action space samples them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import one_hot
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.blocks import BLOCK, BlockPolicy
from imagine_cli.seeds import Stream, seed_sequence


class RandomPolicy(BlockPolicy):
    """Samples of the action space, a random stream of its own for each trajectory.

    A Box is sampled as Gymnasium does: uniform between two finite bounds, normal without any,
    and an exponential from the bound where there is one. Discrete and MultiDiscrete: uniform.

    Trajectory i draws from Philox, a counter-based generator, keyed by ``SeedSequence(seed,
    spawn_key=(1, i))``; its block of steps number k begins ``k`` jumps of 2**128 on. So an action
    depends on the seed, i and the step alone.
    """

    def __init__(
        self,
        env: EnvDescription,
        seed: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dtype, device)
        self._env = env
        self._seed = seed
        self._keys: dict[int, np.ndarray] = {}
        self._bits = np.random.Philox(0)
        self._draw = np.random.Generator(self._bits)
        below, above = np.isfinite(env.action_low), np.isfinite(env.action_high)
        self._bounded = below & above
        self._half = below ^ above
        self._free = ~below & ~above

    def _key(self, trajectory: int) -> np.ndarray:
        sequence = seed_sequence(self._seed, Stream.RANDOM_POLICY, trajectory)
        return sequence.generate_state(2, np.uint64)

    def block(self, trajectories: np.ndarray, begin: int) -> np.ndarray:
        choices, shape = self._env.choices, (len(trajectories), BLOCK)
        if choices:
            numbers = np.empty((*shape, len(choices)), dtype=np.int64)
            for k in self._each(trajectories, begin // BLOCK):
                numbers[k] = self._draw.integers(choices, size=numbers.shape[1:])
            return one_hot(numbers, choices)
        uniform = np.empty((*shape, int(self._bounded.sum())))
        exponential = np.empty((*shape, int(self._half.sum())))
        normal = np.empty((*shape, int(self._free.sum())))
        for k in self._each(trajectories, begin // BLOCK):
            self._draw.random(out=uniform[k])
            self._draw.standard_exponential(out=exponential[k])
            self._draw.standard_normal(out=normal[k])
        actions = np.empty((*shape, self._env.action_size))
        actions[..., self._bounded] = self._between(uniform)
        actions[..., self._half] = self._from_bound(exponential)
        actions[..., self._free] = normal
        return actions

    def _each(self, trajectories: np.ndarray, block: int) -> Iterator[int]:
        """0, 1, ..., with the generator at the beginning of that trajectory's block."""
        numbers = trajectories.tolist()
        self._keys = {i: self._keys[i] if i in self._keys else self._key(i) for i in numbers}
        state: dict[str, Any] = {
            "bit_generator": "Philox",
            "state": {"counter": np.array([0, 0, block, 0], dtype=np.uint64)},
            "buffer": np.zeros(4, dtype=np.uint64),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        bits: Any = self._bits
        for k, key in enumerate(map(self._keys.__getitem__, numbers)):
            state["state"]["key"] = key
            bits.state = state  # a fifth of what making a generator costs
            yield k

    def _between(self, u: np.ndarray) -> np.ndarray:
        low, high = self._env.action_low[self._bounded], self._env.action_high[self._bounded]
        # Not low + (high - low) u, which overflows for the widest bounds there are.
        return np.asarray(np.clip((1 - u) * low + u * high, low, high))

    def _from_bound(self, distance: np.ndarray) -> np.ndarray:
        low, high = self._env.action_low[self._half], self._env.action_high[self._half]
        return np.asarray(np.where(np.isfinite(low), low + distance, high - distance))


def make(argument: str, context: PolicyContext) -> RandomPolicy:
    """``random``."""
    if argument:
        raise InputError(f"policy 'random:{argument}': random takes nothing after it")
    return RandomPolicy(context.env, context.seed, context.dtype, context.device)
