"""A covariance that is none is named by its number in the whole batch."""

from __future__ import annotations

import pytest
import torch

from imagine_cli import ImagineError
from imagine_cli.belief import joint
from imagine_cli.world_models.gp import moment_matching
from imagine_cli.world_models.gp.moment_matching import moment_match
from tests.helpers.gp_models import random_belief, random_model


@pytest.mark.parametrize("gradients", [False, True])
def test_a_bad_beliefs_number_is_that_in_the_batch(
    gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(0, 2, 1, 10)
    one = joint(*random_belief(model, 1, 0.2))
    mean, var = one.mean.repeat(300, 1), one.var.repeat(300, 1, 1)
    var[250] = -1e6 * torch.eye(3, dtype=torch.float64)
    mean.requires_grad_(gradients)
    monkeypatch.setattr(moment_matching, "_BLOCK", 10 * 3 * 5 * 64)
    assert len(moment_matching.blocks(model.constants, 250)) > 1
    with pytest.raises(ImagineError, match="the covariance of belief 250 that"):
        moment_match(model.constants, mean, var)
