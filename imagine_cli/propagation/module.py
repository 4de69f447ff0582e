"""The propagation ``module``: a module that takes beliefs propagates them itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensordict import TensorDictBase

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.world_models.belief_module import BeliefModule
from imagine_cli.world_models.interfaces import Prediction

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise


@dataclass(frozen=True)
class Module(Propagation):
    """What the module says of the next observation, whatever it does to find it."""

    name = "module"
    needs = BeliefModule

    def advance(
        self,
        model: BeliefModule,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
    ) -> tuple[Prediction, State]:
        return model.predict(belief, action), state

    def step_from(
        self, model: BeliefModule, tensordict: TensorDictBase, noise: Noise
    ) -> tuple[Prediction, State]:
        return model.predict_from(tensordict), {}
