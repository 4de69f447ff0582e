"""Policies whose actions don't depend on the belief, read or drawn some steps at a time."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import ImagineError
from imagine_cli.policies.base import Policy

__all__ = ["BLOCK", "BlockPolicy"]

# Steps in a block: enough to make a step cheap, few enough that memory stays small for large B.
BLOCK = 64


class BlockPolicy(Policy):
    """Keeps one block of ``BLOCK`` steps of the trajectories that have started, in ``dtype``."""

    _block: Tensor  # (S, B, F)

    def __init__(self, dtype: torch.dtype, device: torch.device | str) -> None:
        self._dtype = dtype
        self._device = device
        self.first = self.count = 0
        self._forget()

    @abstractmethod
    def block(self, begin: int) -> np.ndarray:
        """The actions of the started trajectories from step ``begin``, a multiple of ``BLOCK``,
        on: ``(count, S, F)`` with 1 <= S <= BLOCK."""

    def start(self, first: int, count: int) -> None:
        self.first, self.count = first, count
        self._forget()

    def act(self, step: int, observation: Belief) -> ActionBelief:
        if not 0 <= step - self._begin < self._length:
            self._load(step)
        return ActionBelief(self._block[step - self._begin].to(observation.mean))

    def _load(self, step: int) -> None:
        if self.count == 0:
            raise ImagineError("the policy was asked to act before start() named trajectories")
        begin = step - step % BLOCK
        actions = torch.from_numpy(self.block(begin)).transpose(0, 1)
        self._block = actions.to(device=self._device, dtype=self._dtype).contiguous()
        self._begin, self._length = begin, self._block.shape[0]

    def _forget(self) -> None:
        self._block = torch.empty(0)
        self._begin = self._length = 0
