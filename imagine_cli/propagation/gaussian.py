"""Propagations that carry a Gaussian belief as its mean and covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation.base import Carried, Propagation, State
from imagine_cli.world_models.interfaces import Prediction

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise


@dataclass(frozen=True)
class GaussianPropagation(Propagation):
    """Of a model with a :class:`~imagine_cli.world_models.model_error.ModelError` it carries the
    belief's covariance with that error, ``"error"`` ``(*B, D, D)``, zero where a trajectory begins.
    """

    def carried(self, model: Any) -> dict[str, Carried]:
        if model.model_error is None:
            return {}
        return {"error": Carried((model.observation_size,) * 2, model.dtype)}

    def begin(self, model: Any, belief: Belief, noise: Noise) -> State:
        return {name: belief.var.new_zeros(belief.var.shape) for name in self.carried(model)}

    def with_error(
        self,
        model: Any,
        prediction: Prediction,
        belief: Belief,
        action: ActionBelief,
        state: State,
    ) -> tuple[Prediction, State]:
        """A step as the model says it, with its error where it has any."""
        if model.model_error is None:
            return prediction, state
        prediction, error = model.model_error.carry(prediction, belief, action, state["error"])
        return prediction, {**state, "error": error}
