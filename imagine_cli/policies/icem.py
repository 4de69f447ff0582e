"""The policy ``icem``: the cross-entropy method, improved for planning in real time.

Pinneri et al., "Sample-efficient cross-entropy method for real-time planning", 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.policies.base import PolicyContext, PolicyState
from imagine_cli.policies.cem import CEM, CEMParameters
from imagine_cli.policies.coloured_noise import coloured_noise
from imagine_cli.policies.parameters import number, one_of, read_parameters
from imagine_cli.policies.planning import Search, shifted


@dataclass(frozen=True)
class ICEMParameters(CEMParameters):
    """Those of :class:`CEMParameters`, and

    Attributes:
        beta: the noise that candidates differ by has a power spectrum ``f^-beta``: 0 is white.
        decay: by how much an iteration draws fewer candidates than the one before, down to twice
            the elites.
        keep: which share of the elites is tried again, in the next iteration and, shifted, at the
            next step.
        execute: ``best``: the best candidate of all is the plan; ``mean``: that of the elites.
    """

    beta: float = number(2.0, 0.0, 10.0)
    decay: float = number(1.25, 1.0)
    keep: float = number(0.3, 0.0, 1.0)
    execute: str = one_of("best", "mean")

    @property
    def kept(self) -> int:
        """How many elites are tried again."""
        return -int(-self.keep * self.elites // 1)


class ICEM(CEM):
    """CEM with coloured noise, elites that are kept and shifted, a population that decays, and
    the mean among the candidates of the last iteration."""

    parameters: ICEMParameters

    def begin(self, observation: Belief, trajectories: Tensor) -> PolicyState:
        state = super().begin(observation, trajectories)
        return {**state, **self._tried_again(state["mean"].unsqueeze(1))}

    def count(self, iteration: int) -> int:
        told = self.parameters
        return max(round(told.candidates / told.decay**iteration), 2 * told.elites)

    def draw(self, generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
        return coloured_noise(generator, shape, self.parameters.beta)

    def added(self, search: Search, iteration: int) -> Iterator[Tensor]:
        yield search.elites[:, : self.parameters.kept]
        if iteration == self.parameters.iterations - 1:
            yield self._range.allowed(search.mean).unsqueeze(1)

    def chosen(self, search: Search) -> Tensor:
        return search.elites[:, 0] if self.parameters.execute == "best" else search.mean

    def carried(self, search: Search) -> PolicyState:
        return {**super().carried(search), **self._tried_again(shifted(search.elites))}

    def _tried_again(self, elites: Tensor) -> PolicyState:
        kept = self.parameters.kept
        if not kept:
            return {}
        return {"elites": self._range.allowed(elites[:, :kept].expand(-1, kept, -1, -1))}


def make(argument: str, context: PolicyContext) -> ICEM:
    """``icem``, or ``icem:horizon=30,candidates=64,...``."""
    return ICEM(read_parameters("icem", argument, ICEMParameters), context, "icem")
