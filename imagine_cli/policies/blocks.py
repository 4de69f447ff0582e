"""Policies whose actions don't depend on the belief, read or drawn some steps at a time."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.policies.base import Policy, PolicyState

# Steps in a block: enough to make a step cheap, few enough that memory stays small for large B.
BLOCK = 64


class BlockPolicy(Policy):
    """Acts by the trajectories' numbers, which are its state, and the step.

    The last block of ``BLOCK`` steps is kept, in ``dtype``, as it is likely to be asked for again.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device | str) -> None:
        self._dtype = dtype
        self._device = device
        self._begin = 0
        self._trajectories = torch.empty(0, dtype=torch.int64)
        self._block = torch.empty(0)  # (S, B, F)

    @abstractmethod
    def block(self, trajectories: np.ndarray, begin: int) -> np.ndarray:
        """The actions of ``trajectories`` ``(B,)`` from step ``begin``, a multiple of ``BLOCK``,
        on: ``(B, S, F)`` with 1 <= S <= BLOCK."""

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        return {"trajectory": trajectories}

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        asked = state["trajectory"]
        known = asked is self._trajectories or torch.equal(asked.cpu(), self._trajectories.cpu())
        if not (known and 0 <= step - self._begin < len(self._block)):
            self._begin = step - step % BLOCK
            actions = torch.from_numpy(self.block(asked.cpu().numpy(), self._begin))
            actions = actions.transpose(0, 1).to(device=self._device, dtype=self._dtype)
            self._block = actions.contiguous()
        self._trajectories = asked
        return ActionBelief(self._block[step - self._begin].to(observation.mean)), state
