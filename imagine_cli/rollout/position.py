"""Where trajectories of a rollout stand: all that their next step goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.propagation.base import State
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.rewards.base import Reward
from imagine_cli.unroll import Dynamics, Step, begin


@dataclass
class Position:
    """Of b trajectories, number ``first`` on, at one step.

    Attributes:
        first: the number of the first trajectory.
        belief: ``(b, D)`` and ``(b, D, D)``.
        state, policy_state: what the dynamics and the policy carry, ``(b, ...)`` each.
        noise: where the trajectories' random numbers come from.
        failed: ``(b,)`` bool, the trajectories that stopped being finite before.
        initial_variance: ``(b, D)``, of the beliefs that they began from.
        returns: ``(b,)``, the sums of their rewards so far, until the env's rule ended them.
        ended: ``(b,)`` bool, where it did.
    """

    first: int
    belief: Belief
    state: State
    policy_state: PolicyState
    noise: TrajectoryNoise
    failed: Tensor
    initial_variance: Tensor
    returns: Tensor
    ended: Tensor

    @classmethod
    def at_start(
        cls, dynamics: Dynamics, policy: Policy, belief: Belief, noise: TrajectoryNoise, first: int
    ) -> Position:
        """At initial beliefs."""
        numbers = torch.arange(first, first + len(belief.mean), device=belief.mean.device)
        states = begin(dynamics, policy, belief, noise, numbers)
        variance = belief.var.diagonal(dim1=-2, dim2=-1).clone()
        never = torch.zeros(len(belief.mean), dtype=torch.bool, device=belief.mean.device)
        none = belief.mean.new_zeros(len(belief.mean))
        return cls(first, belief, *states, noise, never, variance, none, never)

    def follow(self, step: Step) -> None:
        """Be where a step led to."""
        self.belief, self.state, self.policy_state = step.belief, step.state, step.policy_state

    def count(self, reward: Reward | None, before: Belief, step: Step) -> None:
        """Add the step's reward to the returns that the env's rule has not ended yet."""
        if step.prediction.reward_mean is not None:
            self.returns = torch.where(
                self.ended, self.returns, self.returns + step.prediction.reward_mean
            )
        if reward is not None:
            ends = reward.ended(before.mean, step.action.mean, step.prediction.mean)
            self.ended = self.ended | ends

    def row(self, k: int) -> Position:
        """The k-th of the trajectories alone; its random numbers are drawn from both."""
        some = slice(k, k + 1)
        return Position(
            self.first + k,
            Belief(*(part[some] for part in self.belief)),
            {name: value[some] for name, value in self.state.items()},
            {name: value[some] for name, value in self.policy_state.items()},
            self.noise.only(k),
            self.failed[some].clone(),
            self.initial_variance[some],
            self.returns[some],
            self.ended[some],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but ``first``, by name; :meth:`from_arrays` goes on from it to the bit."""
        tensors = {
            "belief/mean": self.belief.mean,
            "belief/var": self.belief.var,
            **{f"state/{name}": value for name, value in self.state.items()},
            **{f"policy/{name}": value for name, value in self.policy_state.items()},
            "failed": self.failed,
            "initial_variance": self.initial_variance,
            "returns": self.returns,
            "ended": self.ended,
        }
        arrays = {name: as_numpy(tensor) for name, tensor in tensors.items()}
        return {**arrays, "noise": self.noise.state()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], noise: TrajectoryNoise, first: int, device: Any
    ) -> Position:
        """The inverse of :meth:`arrays`; ``noise`` has drawn nothing yet."""
        noise.go_to(arrays["noise"])
        tensors = {
            name: torch.tensor(array, device=device)
            for name, array in arrays.items()
            if name != "noise"
        }

        def below(group: str) -> dict[str, Tensor]:
            found = ((name.partition("/"), value) for name, value in tensors.items())
            return {name: value for (where, _, name), value in found if where == group}

        belief = Belief(tensors["belief/mean"], tensors["belief/var"])
        return cls(
            first, belief, below("state"), below("policy"), noise,
            tensors["failed"], tensors["initial_variance"], tensors["returns"], tensors["ended"],
        )  # fmt: skip


def as_numpy(tensor: Tensor) -> np.ndarray:
    """A copy on the CPU."""
    return np.array(tensor.detach().cpu().numpy())
