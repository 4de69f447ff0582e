"""Moment matching against the papers' formulas in 50 decimal digits.

The scales that errors are relative to:

- mean: ``Σ_i |β_i q_i|``, what the sum is made of;
- covariance of two outputs: the product of the standard deviations that the belief gives their
  posterior means, which goes to zero with Σ̃, so that nothing hides behind the prior variance;
- variance: the variance itself; next covariance: the next standard deviations' product;
- V: its largest component for that output, each in units of its length-scale.

Where Σ̃ is far larger than the squared length-scales, V and the covariance are multiplied by the
inverse of I + Λ^(-1/2) Σ̃ Λ^(-1/2), whose condition number κ then bounds what float64 can give:
their tolerance is 1e-10, or 2⁻⁵³ κ (100 times that for V, whose components cancel) where that
is larger.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel
from tests.helpers.gp_models import match, random_belief, random_model, smooth_model
from tests.helpers.gp_reference import Moments, exact, worst

SIZES = [0.0, 1e-16, 1e-12, 1e-8, 1e-4, 1.0, 1e4]
SHAPES = [(1, 0, 1), (1, 1, 5), (2, 1, 8), (3, 2, 12)]


def products(deviations: Tensor, diagonal: Tensor) -> Tensor:
    scale = deviations.unsqueeze(-1) * deviations
    return scale - torch.diag(scale.diagonal()) + torch.diag(diagonal)


def condition(model: GaussianProcessWorldModel, belief: Belief, action: ActionBelief) -> float:
    weights = 1.0 / model.lengthscales
    scaled = weights.unsqueeze(-1) * joint(belief, action).var * weights.unsqueeze(-2)
    return 1.0 + float(torch.linalg.matrix_norm(scaled, 2).max())


def gain_scale(model: GaussianProcessWorldModel, wanted: Moments) -> Tensor:
    lengthscales = model.lengthscales.mT
    return (wanted.gain.abs() * lengthscales).amax(0) / lengthscales


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("outputs", "actions", "n"), SHAPES)
@pytest.mark.parametrize("rank", [None, 1], ids=["full", "singular"])
def test_moments_are_exact(
    outputs: int, actions: int, n: int, size: float, rank: int | None
) -> None:
    kinds = ("mean", "var", "policy") if rank is None else ("policy",)
    for seed, kind in enumerate(kinds if actions else ("mean",)):
        model = random_model(seed + 10 * n, outputs, actions, n, process_noise=seed != 1)
        belief, action = random_belief(model, seed, size, rank=rank, action=kind)
        wanted = exact(model, belief, action)
        mean, var, gain = match(model, belief, action)
        rounding = 2.0**-53 * condition(model, belief, action)
        assert worst(mean, wanted.mean, wanted.sums) < max(1e-13, rounding)
        deviations = wanted.spread.clamp_min(0.0).sqrt()
        assert worst(var, wanted.var, products(deviations, wanted.var.diagonal())) < max(
            1e-10, rounding
        )
        assert worst(gain, wanted.gain, gain_scale(model, wanted)) < max(1e-10, 100 * rounding)

        found = model.predict(belief, action)
        deviations = wanted.next_var.diagonal().sqrt()
        assert (
            worst(found.mean, wanted.next_mean, wanted.sums + belief.mean.abs()) < 1e-13 + rounding
        )
        assert worst(found.var, wanted.next_var, deviations.unsqueeze(-1) * deviations) < 1e-10


@pytest.mark.parametrize("known", [0, 1, 2, 3])
def test_some_dimensions_are_certain(known: int) -> None:
    model = random_model(3, 3, 1, 10)
    belief, action = random_belief(model, known, 0.5)
    keep = torch.ones(3, dtype=torch.float64)
    keep[:known] = 0.0
    belief = Belief(belief.mean, belief.var * keep * keep.unsqueeze(-1))
    wanted = exact(model, belief, action)
    mean, var, gain = match(model, belief, action)
    deviations = wanted.spread.clamp_min(0.0).sqrt()
    assert worst(mean, wanted.mean, wanted.sums) < 1e-12
    assert worst(var, wanted.var, products(deviations, wanted.var.diagonal())) < 1e-10
    assert worst(gain, wanted.gain, gain_scale(model, wanted)) < 1e-10


def test_jitter_is_in_the_gram_matrix_alone() -> None:
    plain = random_model(5, 2, 1, 9, units=False)
    data = [getattr(plain, name) for name in ("inputs", "targets", "lengthscales")]
    variances = (plain.signal_variances, plain.noise_variances)
    model = GaussianProcessWorldModel.from_hyperparameters(*data, *variances, jitter=0.05)
    belief, action = random_belief(model, 1, 0.1)
    wanted, found = exact(model, belief, action), model.predict(belief, action)
    assert (found.mean - wanted.next_mean).abs().max() < 1e-13
    assert (found.var - wanted.next_var).abs().max() < 1e-13
    assert (plain.predict(belief, action).var - found.var).abs().max() > 1e-3


def check_ill_conditioned(n: int, signal_to_noise: float, size: float) -> None:
    """Relative to the signal variance, α_a α_b (1 here): the size of the terms that E[var_f] is
    a difference of. The sums' weights grow as the square of the signal-to-noise ratio.
    """
    model = smooth_model(n, 2, 1, n, signal_to_noise)
    belief, action = random_belief(model, 3, size, action="policy")
    wanted = exact(model, belief, action)
    mean, var, gain = match(model, belief, action)
    assert worst(mean, wanted.mean, wanted.sums) < 1e-13
    assert worst(gain, wanted.gain, gain_scale(model, wanted)) < 1e-10
    found = model.predict(belief, action)
    one = torch.ones(2, 2, dtype=torch.float64)
    assert worst(var, wanted.var, one) < 1e-10
    assert worst(found.var, wanted.next_var, one) < 1e-10
    assert worst(found.mean, wanted.next_mean, torch.ones(2, dtype=torch.float64)) < 1e-10
    assert torch.linalg.eigvalsh(found.var)[0] >= 0.0


@pytest.mark.parametrize("signal_to_noise", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("size", [1e-12, 1e-2])
def test_small_noise(signal_to_noise: float, size: float) -> None:
    check_ill_conditioned(20, signal_to_noise, size)


@pytest.mark.long
def test_small_noise_and_many_points() -> None:
    check_ill_conditioned(150, 1e4, 1e-6)
