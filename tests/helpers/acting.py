"""Policies asked outside a rollout."""

from __future__ import annotations

import torch

from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.policies import Policy

__all__ = ["act", "actions_of"]


def act(policy: Policy, step: int, belief: Belief, first: int = 0) -> ActionBelief:
    """What a policy does at one step; the beliefs are those of trajectories ``first`` on."""
    numbers = torch.arange(first, first + len(belief.mean))
    return policy.act(step, belief, policy.begin(belief, numbers))[0]


def actions_of(policy: Policy, steps: range, first: int, count: int, size: int) -> torch.Tensor:
    """The actions of trajectories ``first`` on, at beliefs of zeros: ``(B, T, F)``."""
    belief = point(torch.zeros(count, size, dtype=torch.float64))
    state = policy.begin(belief, torch.arange(first, first + count))
    taken = []
    for step in steps:
        action, state = policy.act(step, belief, state)
        taken.append(action.mean)
    return torch.stack(taken, dim=1)
