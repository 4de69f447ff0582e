"""The steps of a batch of trajectories that are in memory together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief
from imagine_cli.errors import ImagineError
from imagine_cli.propagation.base import State
from imagine_cli.world_models.interfaces import Prediction

__all__ = ["Block", "as_numpy"]


@dataclass
class Block:
    """``t`` steps of ``b`` trajectories, ``(b, t, ...)`` each; particles are ``(b, P, t, D)``."""

    mean: Tensor
    var: Tensor
    action: Tensor
    action_var: Tensor | None
    reward: Tensor | None
    reward_var: Tensor | None
    particles: Tensor | None

    @classmethod
    def empty(
        cls, b: int, t: int, like: Tensor, actions: int, wanted: dict[str, bool], particles: int
    ) -> Block:
        """Room for what is ``wanted``, in the dtype and on the device of ``like`` ``(b, D)``.

        What a step may leave out is NaN until it is put there.
        """
        size = like.shape[-1]

        def unknown(*shape: int) -> Tensor:
            return like.new_full((b, t, *shape), torch.nan)

        return cls(
            mean=like.new_empty((b, t, size)),
            var=like.new_empty((b, t, size, size)),
            action=like.new_empty((b, t, actions)),
            action_var=unknown(actions, actions) if wanted["action_var"] else None,
            reward=unknown() if wanted["reward"] else None,
            reward_var=unknown() if wanted["reward_var"] else None,
            particles=like.new_empty((b, particles, t, size))
            if wanted.get("particles", False)
            else None,
        )

    def put(self, k: int, action: ActionBelief, prediction: Prediction, state: State) -> None:
        """Step ``k`` of the block: what was done, and what it led to."""
        self.mean[:, k] = prediction.mean
        self.var[:, k] = prediction.var
        self.action[:, k] = action.mean
        if self.action_var is not None and action.var is not None:
            self.action_var[:, k] = action.var
        if self.reward is not None and prediction.reward_mean is not None:
            self.reward[:, k] = prediction.reward_mean
        if self.reward_var is not None and prediction.reward_var is not None:
            self.reward_var[:, k] = prediction.reward_var
        if self.particles is not None:
            self.particles[:, :, k] = state["particles"]

    def hide(self, rows: Any, first: int, last: int, *, actions: bool = True) -> None:
        """Steps ``first`` to ``last - 1`` of some trajectories become NaN, actions too or not."""
        for field in fields(self):
            values = getattr(self, field.name)
            if values is None or (field.name.startswith("action") and not actions):
                continue
            if field.name == "particles":
                values[rows, :, first:last] = torch.nan
            else:
                values[rows, first:last] = torch.nan

    def row(self, row: int) -> Block:
        """A copy of one trajectory alone."""
        some: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            some[field.name] = None if values is None else values[row : row + 1].clone()
        return Block(**some)

    def set_row(self, row: int, other: Block) -> None:
        """Trajectory number ``row`` becomes the only one of ``other``."""
        for field in fields(self):
            values = getattr(self, field.name)
            if values is not None:
                values[row] = getattr(other, field.name)[0]

    def check_finite(self, count: int, first: int, first_step: int, names: list[str]) -> None:
        """Raises ImagineError where one of the first ``count`` steps is not finite."""
        mean, var = self.mean[:, :count], self.var[:, :count]
        rewards = [each[:, :count] for each in (self.reward, self.reward_var) if each is not None]
        if torch.isfinite(sum((each.sum() for each in rewards), mean.sum() + var.sum())):
            return
        bad = ~(torch.isfinite(mean) & torch.isfinite(var).all(-1))
        for each in rewards:
            bad = torch.cat([bad, ~torch.isfinite(each).unsqueeze(-1)], dim=-1)
        if not bad.any():  # the sum alone overflowed
            return
        step = int(bad.any(-1).any(0).nonzero()[0])
        trajectory = int(bad[:, step].any(-1).nonzero()[0])
        dimension = int(bad[trajectory, step].nonzero()[0])
        place = f"dimension {names[dimension]}" if dimension < len(names) else "in its reward"
        raise ImagineError(
            f"the belief is not finite at step {first_step + step + 1} of trajectory "
            f"{first + trajectory}, {place}: the model leaves the numbers it "
            "was made for; take fewer --steps, another --start or --policy, or --on-nonfinite mask"
        )

    def numbers(self) -> dict[str, Any]:
        """As a recorder's ``write`` takes them."""
        return {
            "observation_mean": as_numpy(self.mean),
            "observation_var": as_numpy(self.var),
            "action_mean": as_numpy(self.action),
            "action_var": None if self.action_var is None else as_numpy(self.action_var),
            "reward_mean": None if self.reward is None else as_numpy(self.reward),
            "reward_var": None if self.reward_var is None else as_numpy(self.reward_var),
            "particles": None if self.particles is None else as_numpy(self.particles),
        }


def as_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
