from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagine_cli import InputError, load_world_model
from tests.helpers.gp_models import random_model

SAMPLES = Path(__file__).parents[2] / "sample_models"


@pytest.mark.parametrize("name", ["pendulum-gp.pt", "cartpole-gp.pt", "pendulum-sparse-gp.pt"])
def test_a_gp_that_float32_cannot_hold_is_refused_and_left_as_it_is(name: str) -> None:
    model = load_world_model(SAMPLES / name)
    before = {key: value.clone() for key, value in model.named_buffers()}
    with pytest.raises(InputError, match="can.t be cast to float32: rounding .* leave it in"):
        model.float()
    after = dict(model.named_buffers())
    assert all(after[key].dtype == value.dtype for key, value in before.items())
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert model.double() is model


def test_where_its_noise_is_large_beside_rounding_a_gp_may_be_cast() -> None:
    model = random_model(0, 2, 1, 20, units=False)
    x, u = (part.clone() for part in model.inputs.split([2, 1], dim=-1))
    before = model.conditional(x, u)
    after = model.float().conditional(x, u)
    sd = before.var.expand(before.mean.shape).sqrt()
    assert model.inputs.dtype == torch.float32
    assert ((after.mean - before.mean).abs() < 0.1 * sd).all()


@pytest.mark.parametrize("name", ["pendulum-linear.pt", "pendulum-ensemble.pt"])
def test_kinds_that_are_not_conditioned_on_data_may_be_cast(name: str) -> None:
    load_world_model(SAMPLES / name).float()
