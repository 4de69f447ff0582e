"""What every covariance that comes out is: symmetric, positive semi-definite, its row's alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel
from imagine_cli.world_models.gp.moment_matching import moment_match
from tests.helpers.gp_models import random_belief, random_model, smooth_model, stacked


def check_covariance(var: Tensor, scale: Tensor, slack: float) -> None:
    """Symmetric to the bit, and no eigenvalue below ``-slack`` where ``scale`` is the unit.

    Σ' = Σ + Σ_Δ + ... is a sum of terms of the size of Σ, which may cancel: rounding is relative
    to the larger of the input's and the output's variance, each dimension in its own unit.
    """
    assert torch.equal(var, var.mT)
    assert torch.isfinite(var).all()
    unit = torch.maximum(var.diagonal().abs(), scale).clamp_min(1e-300).sqrt()
    assert torch.linalg.eigvalsh(var / unit / unit[:, None])[0] >= -slack


@given(
    seed=st.integers(0, 2**31),
    outputs=st.integers(1, 4),
    actions=st.integers(0, 2),
    n=st.integers(1, 15),
    size=st.sampled_from([0.0]) | st.floats(-20, 4).map(lambda power: 10.0**power),
    rank=st.sampled_from([None, 1, 2]),
    action=st.sampled_from(["mean", "var", "policy"]),
    process_noise=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_covariances_are_covariances(
    seed: int,
    outputs: int,
    actions: int,
    n: int,
    size: float,
    rank: int | None,
    action: str,
    process_noise: bool,
) -> None:
    model = random_model(seed, outputs, actions, n, process_noise=process_noise)
    belief, act = random_belief(model, seed + 1, size, rank=rank, action=action)
    x = joint(belief, act)
    _, var, _ = moment_match(model.constants, x.mean[None], x.var[None])
    check_covariance(var[0], torch.zeros(outputs, dtype=torch.float64), 1e-12)
    found = model.predict(belief, act)
    check_covariance(found.var, belief.var.diagonal(), 1e-12)
    if process_noise:
        assert (found.var.diagonal() >= model.noise_variances * (1 - 1e-9)).all() or size > 0


@pytest.mark.parametrize("signal_to_noise", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e-2, 1.0])
def test_many_points_and_little_noise(signal_to_noise: float, size: float) -> None:
    model = smooth_model(2, 3, 1, 150, signal_to_noise)
    for seed, rank in enumerate((None, 1, 2)):
        belief, action = random_belief(model, seed, size, rank=rank, action="policy")
        x = joint(belief, action)
        _, var, _ = moment_match(model.constants, x.mean[None], x.var[None])
        check_covariance(var[0], torch.zeros(3, dtype=torch.float64), 0.0)
        check_covariance(model.predict(belief, action).var, belief.var.diagonal(), 1e-15)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-2, 1.0])
def test_outputs_that_move_as_one(size: float) -> None:
    """The same data three times: Σ_Δ is singular but for the posterior variance (1e-6 here)."""
    one = smooth_model(2, 1, 2, 150, 1e3)
    model = GaussianProcessWorldModel.from_hyperparameters(
        one.inputs,
        one.targets.expand(-1, 3),
        one.lengthscales.expand(3, -1),
        one.signal_variances.expand(3),
        one.noise_variances.expand(3),
    )
    for seed in range(3):
        belief, action = random_belief(model, seed, size, rank=1)
        x = joint(belief, action)
        _, var, _ = moment_match(model.constants, x.mean[None], x.var[None])
        check_covariance(var[0], torch.zeros(3, dtype=torch.float64), 0.0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("outputs", "n"),
    [(1, 1), (1, 7), (1, 400), (2, 5), (3, 40), (3, 150), (3, 151), (7, 33), (11, 101)],
)
def test_a_row_is_the_same_in_any_batch(outputs: int, n: int, threads: int) -> None:
    model = random_model(n, outputs, 1 + outputs // 4, n)
    belief, action = stacked(model, 17, 0.1)
    whole = model.predict(belief, action)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for start, count in ((0, 1), (16, 1), (3, 2), (10, 7)):
            some = slice(start, start + count)
            part = model.predict(
                Belief(*(x[some] for x in belief)),
                ActionBelief(*(None if x is None else x[some] for x in action)),
            )
            assert torch.equal(part.mean, whole.mean[some])
            assert torch.equal(part.var, whole.var[some])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n", [7, 150])
def test_a_row_is_the_same_with_gradients(n: int) -> None:
    model = random_model(n, 2, 1, n)
    belief, action = stacked(model, 7, 0.1)
    plain = model.predict(belief, action)
    wanted = Belief(belief.mean.clone().requires_grad_(), belief.var.clone().requires_grad_())
    found = model.predict(wanted, action)
    assert torch.equal(found.mean, plain.mean)
    assert torch.equal(found.var, plain.var)


def test_an_empty_batch() -> None:
    model = random_model(0, 2, 1, 10)
    x = joint(*random_belief(model, 4, 0.2))
    mean, var, gain = moment_match(model.constants, x.mean.expand(0, -1), x.var.expand(0, -1, -1))
    assert (mean.shape, var.shape, gain.shape) == ((0, 2), (0, 2, 2), (0, 3, 2))
