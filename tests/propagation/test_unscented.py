"""The unscented transform with weights below zero."""

from __future__ import annotations

import pytest
import torch

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.propagation.unscented import Unscented
from imagine_cli.world_models.interfaces import Conditional
from tests.helpers.ensembles import random_ensemble


@pytest.mark.parametrize(
    "way",
    [
        Unscented(alpha=0.8, beta=2.0),  # the mean's weight alone is below zero
        Unscented(alpha=1.0, beta=0.0, kappa=-2.0),  # both are
    ],
)
def test_what_comes_out_is_a_covariance_all_the_same(
    way: Unscented, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_ensemble(3, 1, reward=True)
    centre = torch.zeros(1, 3, dtype=torch.float64)

    def conditional(x: torch.Tensor, u: torch.Tensor) -> Conditional:
        """Says the same everywhere, and is unsure of it in the middle alone."""
        near = (x == centre).all(-1).double()
        flat = torch.zeros_like(x)
        return Conditional(flat, flat + near.unsqueeze(-1), flat[..., 0], near)

    monkeypatch.setattr(model, "conditional", conditional)
    belief = Belief(centre, torch.eye(3, dtype=torch.float64)[None])
    action = ActionBelief(torch.zeros(1, 1, dtype=torch.float64))
    found, _ = way.step(model, belief, action, {}, TorchNoise((1,), torch.float64))
    assert (torch.linalg.eigvalsh(found.var) >= 0.0).all()
    assert found.reward_var is not None
    assert (found.reward_var >= 0.0).all()
