from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import imagine_cli.world_models.gp.pair_sum as module
from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel
from imagine_cli.world_models.gp.moment_matching import moment_match
from tests.helpers.gp_models import random_belief, random_model


def arguments(
    model: GaussianProcessWorldModel, size: float, rank: int | None
) -> tuple[Tensor, ...]:
    """mean, Σ, action mean, the action's own covariance, cross-covariance: each a leaf."""
    belief, action = random_belief(model, 4, size, rank=rank, action="policy")
    assert action.cross_covariance is not None
    noise = size * torch.eye(model.action_size, dtype=torch.float64)
    given = (*belief, action.mean, noise, action.cross_covariance)
    return tuple(x.clone().requires_grad_() for x in given)


def steps(model: GaussianProcessWorldModel, count: int) -> Callable[..., tuple[Tensor, Tensor]]:
    def function(
        mean: Tensor, var: Tensor, action: Tensor, noise: Tensor, cross: Tensor
    ) -> tuple[Tensor, Tensor]:
        belief = Belief(mean, var)
        for _ in range(count):
            given = ActionBelief(action, cross.mT @ belief.var @ cross + noise, cross)
            belief = Belief(*model.predict(belief, given)[:2])
        return belief.mean, belief.var

    return function


CASES = [(0.3, None), (0.3, 1), (0.0, None)]
NAMES = ["full", "singular", "zero"]


@pytest.mark.parametrize(("size", "rank"), CASES, ids=NAMES)
@pytest.mark.parametrize("outputs", [1, 2])
def test_first_derivatives_of_chained_steps(outputs: int, size: float, rank: int | None) -> None:
    model = random_model(1, outputs, 1, 4, units=False)
    assert torch.autograd.gradcheck(steps(model, 3), arguments(model, size, rank))


@pytest.mark.parametrize(("size", "rank"), CASES, ids=NAMES)
@pytest.mark.parametrize("outputs", [1, 2])
def test_second_derivatives(outputs: int, size: float, rank: int | None) -> None:
    model = random_model(2, outputs, 1, 4, units=False)
    given = arguments(model, size, rank)
    assert torch.autograd.gradgradcheck(steps(model, 2), given, atol=1e-4)


@pytest.mark.parametrize(("size", "rank"), CASES, ids=NAMES)
def test_derivatives_of_the_three_moments(size: float, rank: int | None) -> None:
    model = random_model(3, 2, 1, 5, units=False)
    belief, action = random_belief(model, 4, size, rank=rank, action="policy")
    x = joint(belief, action)
    given = tuple(part.unsqueeze(0).clone().requires_grad_() for part in x)

    def function(mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return moment_match(model.constants, mean, var)

    assert torch.autograd.gradcheck(function, given)
    assert torch.autograd.gradgradcheck(function, given, atol=1e-4)


@pytest.mark.parametrize("tile", [50, module._TILE])
@pytest.mark.parametrize(
    ("outputs", "actions", "n"), [(1, 0, 1), (1, 1, 9), (3, 1, 40), (4, 2, 25)]
)
@pytest.mark.parametrize("size", [0.0, 1e-10, 0.3])
def test_the_written_derivative_is_that_of_whole_matrices(
    monkeypatch: pytest.MonkeyPatch, size: float, outputs: int, actions: int, n: int, tile: int
) -> None:
    """Which autograd derives; each component in the units of its length-scales."""
    monkeypatch.setattr(module, "_TILE", tile)
    model = random_model(n, outputs, actions, n)
    beliefs = [
        joint(*random_belief(model, k, size, action="policy" if actions else "mean"))
        for k in range(5)
    ]
    mean, var = (torch.stack(part).requires_grad_() for part in zip(*beliefs, strict=True))
    moments = moment_match(model.constants, mean, var)
    g = torch.Generator().manual_seed(n)
    by = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in moments]
    found = torch.autograd.grad(moments, (mean, var), by)
    unit = model.lengthscales.mean(0)
    wanted = torch.autograd.grad(
        moment_match(model.constants, mean, var), (mean, var), by, True, True
    )
    for x, y, scale in zip(found, wanted, (unit, unit * unit[:, None]), strict=True):
        largest = (y * scale).abs().amax()
        assert ((x - y) * scale).abs().amax() <= 1e-12 * largest


@pytest.mark.parametrize("which", [0, 1])
def test_one_argument_alone(which: int) -> None:
    model = random_model(3, 2, 1, 5, units=False)
    x = joint(*random_belief(model, 4, 0.2, action="policy"))
    both = [part.unsqueeze(0).clone().requires_grad_() for part in x]
    wanted = torch.autograd.grad(sum(m.sum() for m in moment_match(model.constants, *both)), both)
    one = [part.detach().requires_grad_(k == which) for k, part in enumerate(both)]
    total = sum(m.sum() for m in moment_match(model.constants, *one))
    assert torch.equal(torch.autograd.grad(total, one[which])[0], wanted[which])


@pytest.mark.parametrize("seed", range(3))
def test_rollout_gradient_is_the_finite_difference(seed: int) -> None:
    """Five steps under a linear policy with its exact action belief; a cost of mean and var."""
    model = random_model(seed, 2, 1, 20, units=False)
    start, _ = random_belief(model, seed, 0.1)
    g = torch.Generator().manual_seed(seed)
    gain = 0.3 * torch.randn(2, 1, generator=g, dtype=torch.float64)

    def cost(policy: Tensor) -> Tensor:
        belief, total = start, torch.zeros((), dtype=torch.float64)
        for _ in range(5):
            action = ActionBelief(belief.mean @ policy, policy.mT @ belief.var @ policy, policy)
            belief = Belief(*model.predict(belief, action)[:2])
            total = total + belief.mean.square().sum() + belief.var.diagonal().sum()
        return total

    leaf = gain.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(leaf), leaf)
    wanted = torch.zeros_like(gain)
    for k in range(2):
        step = torch.zeros_like(gain)
        step[k] = 1e-3
        # Fourth order: an error of about 1e-12 times the fifth derivative.
        wanted[k] = (
            8.0 * (cost(gain + step) - cost(gain - step))
            - (cost(gain + 2 * step) - cost(gain - 2 * step))
        ) / 12e-3
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-9)


def saved(function: Callable[[], object]) -> int:
    """Bytes that the graph of ``function`` keeps."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    assert result is not None
    return sum(kept.values())


def test_the_graph_does_not_grow_with_the_data() -> None:
    sizes = []
    for n in (5, 200):
        model = random_model(0, 2, 1, n, units=False)
        x = joint(*random_belief(model, 4, 0.2))
        mean, var = (part.expand(3, *part.shape).clone().requires_grad_() for part in x)
        sizes.append(saved(lambda m=model, a=mean, b=var: moment_match(m.constants, a, b)))
        assert sizes[-1] == 8 * (mean.numel() + var.numel())
        given = arguments(model, 0.1, None)
        sizes.append(saved(lambda m=model, a=given: steps(m, 4)(*a)))
    assert sizes[0] == sizes[2]
    assert sizes[1] == sizes[3]
    assert sizes[1] < 10_000


def test_without_gradients_nothing_is_kept() -> None:
    model = random_model(0, 2, 1, 10)
    mean, var = (part.unsqueeze(0) for part in joint(*random_belief(model, 4, 0.2)))
    assert all(not moment.requires_grad for moment in moment_match(model.constants, mean, var))
    mean.requires_grad_()
    with torch.no_grad():
        assert all(not moment.requires_grad for moment in moment_match(model.constants, mean, var))
    assert all(moment.requires_grad for moment in moment_match(model.constants, mean, var))


def test_an_unused_moment_is_no_obstacle() -> None:
    model = random_model(0, 2, 1, 10)
    mean, var = (part.unsqueeze(0) for part in joint(*random_belief(model, 4, 0.2)))
    mean.requires_grad_()
    moment_match(model.constants, mean, var)[0].sum().backward()
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()
    assert (mean.grad != 0).any()
