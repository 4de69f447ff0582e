"""The policy ``mppi``: plans by a mean of candidates that is weighted by their returns.

Model predictive path integral control (Williams et al. 2017), in the variant of Nagabandi et al.,
"Deep dynamics models for learning dexterous manipulation", 2019, which mbrl-lib has too: noise
that is filtered along the sequence, weights ``exp(γ R)``, and no term for the cost of control,
which is the reward's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.parameters import number, read_parameters
from imagine_cli.policies.planning import Planner, PlannerParameters, Search


@dataclass(frozen=True)
class MPPIParameters(PlannerParameters):
    """Those of :class:`PlannerParameters`, and

    Attributes:
        gamma: γ, in units of one over the return: with little of it the plan is nearly the plain
            mean, with much the best candidate.
        filter: how much of each action's noise is new, the rest being that of the action before.
    """

    gamma: float = number(1.0, 1e-9)
    filter: float = number(0.6, 0.01, 1.0)


class MPPI(Planner):
    """Candidates around the mean, with the same standard deviation all along."""

    parameters: MPPIParameters

    def draw(self, generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
        noise, new = generator.standard_normal(shape), self.parameters.filter
        for step in range(1, shape[1]):  # scaled so that their variance stays 1
            noise[:, step] *= (1.0 - (1.0 - new) ** 2) ** 0.5
            noise[:, step] += (1.0 - new) * noise[:, step - 1]
        return noise

    def improved(self, search: Search, candidates: Tensor, returns: Tensor) -> Search:
        best = returns.max(dim=1, keepdim=True).values
        # Where every candidate failed, all of them weigh the same.
        behind = (returns - best).nan_to_num(nan=0.0, neginf=-torch.inf)
        weights = (self.parameters.gamma * behind).softmax(dim=1)[:, None, None]
        # Sums along contiguous rows, whose order doesn't depend on how many of them there are.
        rows = candidates.permute(0, 2, 3, 1).contiguous()
        return search._replace(mean=(weights * rows).sum(-1))


def make(argument: str, context: PolicyContext) -> MPPI:
    """``mppi``, or ``mppi:horizon=30,candidates=64,...``."""
    return MPPI(read_parameters("mppi", argument, MPPIParameters), context, "mppi")
