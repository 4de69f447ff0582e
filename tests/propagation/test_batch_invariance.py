"""A trajectory's bits don't depend on the trajectories beside it, at sizes where kernels change."""

from __future__ import annotations

import pytest
import torch

from imagine_cli.belief import ActionBelief, Belief, fit_to_particles, lower_root
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.world_models.interfaces import Prediction
from tests.helpers.linear_systems import belief_in, linear_model
from tests.helpers.worlds import small_gp

SLICES = ((0, 1), (3, 2), (8, 1), (2, 5))


@pytest.mark.parametrize("name", ["linearized", "unscented", "particles"])
@pytest.mark.parametrize("kind", ["linear", "gp"])
@pytest.mark.parametrize("sizes", [(3, 1), (11, 3), (17, 6)])
def test_a_step(name: str, kind: str, sizes: tuple[int, int]) -> None:
    model = linear_model(*sizes) if kind == "linear" else small_gp(*sizes, n=40)
    belief, action = belief_in(*sizes, 0, batch=9)
    way = make_propagation(name, model)

    def run(first: int, count: int) -> Prediction:
        rows = slice(first, first + count)
        some = Belief(belief.mean[rows], belief.var[rows])
        act = ActionBelief(*(None if part is None else part[rows] for part in action))
        noise = TrajectoryNoise(0, first, count, torch.float64)
        return way.step(model, some, act, way.begin(model, some, noise), noise)[0]

    together = run(0, 9)
    for first, count in SLICES:
        for alone, all_ in zip(run(first, count), together, strict=True):
            assert alone is None or torch.equal(alone, all_[first : first + count])


@pytest.mark.parametrize("size", [1, 3, 11, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gaussian_of_particles_and_its_root(size: int, dtype: torch.dtype) -> None:
    for count in (2, 30, 1001):
        x = torch.randn(9, count, size, dtype=dtype, generator=torch.manual_seed(0))
        together = fit_to_particles(x)
        root = lower_root(together.var)
        scale = together.var.diagonal(dim1=-2, dim2=-1).amax()
        torch.testing.assert_close(
            root @ root.mT, together.var, rtol=0.0, atol=float(20 * torch.finfo(dtype).eps * scale)
        )
        for first, n in SLICES:
            alone = fit_to_particles(x[first : first + n])
            assert torch.equal(alone.mean, together.mean[first : first + n])
            assert torch.equal(alone.var, together.var[first : first + n])
            assert torch.equal(lower_root(alone.var), root[first : first + n])
