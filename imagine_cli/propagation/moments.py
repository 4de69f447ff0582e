"""The propagation ``moments``: the world model's own exact mean and covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation.base import State
from imagine_cli.propagation.gaussian import GaussianPropagation
from imagine_cli.world_models.interfaces import Prediction, SupportsMoments

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise


@dataclass(frozen=True)
class Moments(GaussianPropagation):
    """Exact moment matching: the first two moments of what becomes of a Gaussian belief.

    What it leaves out is the shape beyond them: after each step the belief is a Gaussian again.
    """

    name = "moments"
    needs = SupportsMoments

    def advance(
        self,
        model: SupportsMoments,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
    ) -> tuple[Prediction, State]:
        return self.with_error(model, model.moments(belief, action), belief, action, state)
