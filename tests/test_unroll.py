"""Gradients through a whole imagination, and what their graph keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from imagine_cli.belief import Belief
from imagine_cli.policies import RBFPolicy
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.unroll import ModelDynamics, begin, unroll
from imagine_cli.world_models import GaussianProcessWorldModel
from tests.helpers.worlds import small_gp

SIZE = 2


def rbf() -> RBFPolicy:
    generator = torch.Generator().manual_seed(1)
    centers, weights = (
        torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (SIZE, 1)
    )
    ones = torch.ones(SIZE, dtype=torch.float64)
    return RBFPolicy(centers, 0.3 * weights, 1.5 * ones, 2.0 * ones[:1])


def cost(model: GaussianProcessWorldModel, policy: RBFPolicy, steps: int) -> Tensor:
    belief = Belief(
        torch.tensor([[0.5, -0.3]], dtype=torch.float64),
        0.01 * torch.eye(SIZE, dtype=torch.float64).unsqueeze(0),
    )
    dynamics = ModelDynamics(model, make_propagation("moments", model))
    noise = TorchNoise((1,), torch.float64)
    state = begin(dynamics, policy, belief, noise)
    taken = unroll(dynamics, policy, belief, state, noise, steps)
    return torch.stack([s.belief.mean.square().sum() + s.belief.var.sum() for s in taken]).sum()


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_gradient_through_40_steps_is_that_of_finite_differences(compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")
    model, policy = small_gp(SIZE, 1), rbf()
    if compiled:
        model.compile()
    parameters = list(policy.parameters())
    theta = parameters_to_vector(parameters).detach()
    gradient = parameters_to_vector(torch.autograd.grad(cost(model, policy, 40), parameters))
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        v = torch.randn(len(theta), generator=generator, dtype=torch.float64)
        v = v / v.norm()

        def at(h: float, v: Tensor = v) -> float:
            vector_to_parameters(theta + h * v, parameters)
            with torch.no_grad():
                return float(cost(model, policy, 40))

        h = 1e-3
        expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        assert float(gradient @ v) == pytest.approx(expected, rel=1e-6)


def kept(n: int, steps: int) -> int:
    """The bytes that the graph of ``steps`` keeps, each piece of memory counted once."""
    held: dict[int, int] = {}
    tensors: list[Tensor] = []  # so that no piece of memory is used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        tensors.append(tensor)
        return tensor

    model, policy = small_gp(SIZE, 1, n=n), rbf()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        graph = cost(model, policy, steps)
    assert graph.requires_grad
    return sum(held.values())


def test_the_memory_of_a_step_does_not_grow_with_the_square_of_n() -> None:
    few, many = (kept(n, 12) - kept(n, 2) for n in (50, 200))
    assert few > 0
    assert many < 4.5 * few
    assert many < 10 * 200 * 200 * 8  # less than one matrix (n, n) for each of the ten steps
