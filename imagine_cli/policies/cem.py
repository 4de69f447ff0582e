"""The policy ``cem``: plans by the cross-entropy method, as PETS does.

de Boer et al., "A tutorial on the cross-entropy method", 2005; Chua et al., "Deep reinforcement
learning in a handful of trials using probabilistic dynamics models", 2018 (section 5). Where PETS
draws from truncated normals, candidates are clipped here.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.parameters import number, read_parameters
from imagine_cli.policies.planning import Planner, PlannerParameters, Search


@dataclass(frozen=True)
class CEMParameters(PlannerParameters):
    """Those of :class:`PlannerParameters`, and

    Attributes:
        elites: how many of the best candidates the next distribution is fitted to.
        momentum: how much of the distribution before is left in it.
    """

    elites: int = number(8, 1)
    momentum: float = number(0.1, 0.0, 0.99)

    def __post_init__(self) -> None:
        if self.elites > self.candidates:
            raise InputError(
                f"{self.elites} elites of {self.candidates} candidates: give fewer elites, or more "
                "candidates"
            )


class CEM(Planner):
    """A normal distribution of every action, or a categorical one, fitted to the best candidates.

    Its mean is the plan, the likeliest choices where they are discrete.
    """

    parameters: CEMParameters

    def improved(self, search: Search, candidates: Tensor, returns: Tensor) -> Search:
        order = returns.argsort(dim=1, descending=True, stable=True)[:, : self.parameters.elites]
        index = order[..., None, None].expand(-1, -1, *candidates.shape[2:])
        elites = candidates.gather(1, index)
        # Sums along contiguous rows, whose order doesn't depend on how many of them there are.
        rows = elites.permute(0, 2, 3, 1).contiguous()
        kept = self.parameters.momentum
        mean = kept * search.mean + (1.0 - kept) * rows.mean(-1)
        std = kept * search.std + (1.0 - kept) * rows.std(-1, unbiased=False)
        return Search(mean, std, elites)


def make(argument: str, context: PolicyContext) -> CEM:
    """``cem``, or ``cem:horizon=30,candidates=64,...``."""
    return CEM(read_parameters("cem", argument, CEMParameters), context, "cem")
