"""The propagation ``linearized``: as the extended Kalman filter predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation.base import State
from imagine_cli.propagation.gaussian import GaussianPropagation
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Prediction, SupportsPoints
from imagine_cli.world_models.linearize import linearize

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise


@dataclass(frozen=True)
class Linearized(GaussianPropagation):
    """First order around the mean: ``μ' = m(μ̃)``, ``Σ' = J Σ̃ Jᵀ + Q(μ̃)``.

    m and Q are the model's mean and variance at a point and J is the Jacobian of m
    (:func:`~imagine_cli.world_models.linearize.linearize`). Exact for a linear model; elsewhere
    good while the belief is narrow beside what the model does. The cheapest of all: one point and
    its derivatives.
    """

    name = "linearized"
    needs = SupportsPoints

    @classmethod
    def fits(cls, model: WorldModel) -> bool:
        return super().fits(model) and model.differentiable

    def advance(
        self,
        model: SupportsPoints,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
    ) -> tuple[Prediction, State]:
        return self.with_error(model, linearize(model, belief, action), belief, action, state)
