"""Gaussian processes at the edges, against fifty digits; and what is beyond the edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from imagine_cli import InputError
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.world_models import GaussianProcessWorldModel
from tests.helpers.gp_reference import exact


def full(value: float, *shape: int) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def model(
    n: int = 8, size: int = 2, *, ell: float = 1.0, noise: float = 1e-2, signal: float = 1.0,
    target: float | None = None, repeated: bool = False,
) -> GaussianProcessWorldModel:  # fmt: skip
    g = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, size + 1, generator=g, dtype=torch.float64)
    if repeated:
        inputs = inputs[:1].expand(n, -1).clone()
    targets = 0.3 * torch.sin(inputs[:, :size]) if target is None else full(target, n, size)
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs, targets, full(ell, size, size + 1), full(signal, size), full(noise, size)
    )


@pytest.mark.parametrize(
    "given",
    [
        {"n": 1},
        {"size": 1},
        {"n": 1, "size": 1},
        {"ell": 1e-8},
        {"ell": 1e8},
        {"repeated": True},
        {"target": 0.0},
        {"target": 0.5},
        {"signal": 1e-60, "noise": 1e-62},
        {"signal": 1e60, "noise": 1e58},
    ],
    ids=str,
)
@pytest.mark.parametrize("spread", [0.0, 1e-12, 1.0, 1e6])
def test_moments_are_exact_at_the_edges(given: dict[str, Any], spread: float) -> None:
    gp = model(**given)
    size = gp.observation_size
    belief = Belief(full(0.2, size), spread * torch.eye(size, dtype=torch.float64))
    action = ActionBelief(full(0.1, 1))
    found, wanted = gp.predict(belief, action), exact(gp, belief, action)
    # Sums of n terms that cancel: rounding is in units of the largest term.
    scale = float(wanted.sums.max()) + 1.0
    assert float((found.mean - wanted.next_mean).abs().max()) <= 1e-12 * scale
    largest = float(wanted.next_var.abs().max()) + float(wanted.sums.square().max())
    assert float((found.var - wanted.next_var).abs().max()) <= 1e-10 * largest
    assert torch.equal(found.var, found.var.mT)
    assert float(torch.linalg.eigvalsh(found.var).min()) >= -1e-10 * largest


def test_points_that_coincide_without_noise_are_refused() -> None:
    with pytest.raises(InputError, match="output 0 is not positive definite: training points coi"):
        model(repeated=True, noise=0.0)


@pytest.mark.parametrize(
    "given", [{"ell": 1e-160}, {"ell": 1e160}, {"signal": 1e300}, {"target": 1e200}], ids=str
)
def test_numbers_whose_squares_overflow_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"of a Gaussian process are beyond 1e\+75, and their sq"):
        model(**given)


@pytest.mark.long
def test_a_hundred_dimensions() -> None:
    size = 100
    gp = model(n=5, size=size, ell=10.0)
    belief = Belief(full(0.1, 1, size), 0.01 * torch.eye(size, dtype=torch.float64).unsqueeze(0))
    with torch.no_grad():
        found = gp.predict(belief, ActionBelief(full(0.1, 1, 1)))
    assert torch.isfinite(found.mean).all()
    values = torch.linalg.eigvalsh(found.var[0])
    assert float(values.min()) > 0.0
