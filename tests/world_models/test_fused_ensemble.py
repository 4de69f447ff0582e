"""The ensemble in float32 on a CPU, where its layers are fused, is the same ensemble."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import forward_ad

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.world_models import EnsembleWorldModel
from imagine_cli.world_models.interfaces import Conditional
from tests.helpers.ensembles import random_ensemble
from tests.helpers.threads import threads

fused_here = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="nothing is fused without AVX512"
)


def single(seed: int = 0, **given: object) -> EnsembleWorldModel:
    sizes = {"hidden": (200, 72), "elites": [4, 1, 2], "reward": True, **given}
    return random_ensemble(3, 1, weights=torch.float32, dtype=torch.float32, seed=seed, **sizes)


def points(*shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    member = torch.randint(3, shape, generator=g)
    return torch.randn(*shape, 3, generator=g), torch.randn(*shape, 1, generator=g), member


def equal(some: Conditional, others: Conditional) -> bool:
    pairs = zip(some, others, strict=True)
    return all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)


@fused_here
def test_it_is_fused_unless_derivatives_are_asked_for() -> None:
    model, (x, u, member) = single(), points(400)
    model.conditional(x.clone().requires_grad_(), u, member)
    assert model._fused._packed is None
    model.conditional(x, u, member)
    assert model._fused._packed is not None


@fused_here
def test_a_few_points_are_not_worth_it() -> None:
    model, (x, u, member) = single(), points(40)
    model.conditional(x, u, member)
    assert model._fused._packed is None


@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize("alone", [True, False])
def test_fused_or_not_it_is_the_same_to_rounding(
    activation: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x, u, member) = single(activation=activation), points(300)
    who = member if alone else None
    found = model.conditional(x, u, who)
    monkeypatch.setattr("imagine_cli.world_models.ensemble.may_fuse", lambda values: False)
    others = model.conditional(x, u, who)
    wide = copy.deepcopy(model).double()
    wide.dtype = torch.float64
    exact = wide.conditional(x.double(), u.double(), who)
    for one, other, truth in zip(found, others, exact, strict=True):
        assert one is not None
        assert other is not None
        assert truth is not None
        error = (one - truth).square().mean().sqrt()
        assert error < 3.0 * (other - truth).square().mean().sqrt()


@pytest.mark.parametrize("particles", [7, 100, 1003, 3001])
def test_a_trajectorys_bits_depend_on_neither_neighbours_nor_threads(particles: int) -> None:
    model, (x, u, member) = single(), points(4, particles)
    together = model.conditional(x, u, member)
    for count in (1, 2, 3):
        with threads(count):
            assert equal(model.conditional(x, u, member), together)
            for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
                alone = model.conditional(x[rows], u[rows], member[rows])
                some = Conditional(*(part[rows] for part in together if part is not None))
                assert equal(alone, some)


@pytest.mark.parametrize("alone", [True, False])
def test_a_particles_bits_do_not_depend_on_its_place(alone: bool) -> None:
    model, (x, u, member) = single(), points(1003)
    together = model.conditional(x, u, member if alone else None)
    order = torch.randperm(1003, generator=torch.manual_seed(1))
    for count in (1, 2, 3):
        with threads(count):
            again = model.conditional(x[order], u[order], member[order] if alone else None)
        assert equal(again, Conditional(*(part[order] for part in together if part is not None)))


@pytest.mark.parametrize("alone", [True, False])
def test_gradients_flow(alone: bool) -> None:
    """Both ways, after numbers alone were computed; beside those in float64."""
    model, (x, u, member) = single(), points(30)
    who = member if alone else None
    model.conditional(x, u, who)
    wide = copy.deepcopy(model).double()
    wide.dtype = torch.float64

    def total(of: EnsembleWorldModel, x: torch.Tensor) -> torch.Tensor:
        at = of.conditional(x, u.to(x.dtype), who)
        return at.mean.sum() + at.var.sum() + at.reward_mean.sum()

    needing, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    (slope,) = torch.autograd.grad(total(model, needing), needing)
    (wanted,) = torch.autograd.grad(total(wide, exact), exact)
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        transformed = torch.func.grad(lambda x: total(model, x))(x)
        torch.testing.assert_close(transformed, slope, rtol=1e-5, atol=1e-6)
        direction = torch.ones_like(x)
        with forward_ad.dual_level():
            along = forward_ad.unpack_dual(total(model, forward_ad.make_dual(x, direction))).tangent
        torch.testing.assert_close(along.double(), wanted.sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alone", [True, False])
def test_without_the_operators_it_goes_on_in_silence(
    alone: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    model, (x, u, member) = single(), points(300)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    found = model.conditional(x, u, member if alone else None)
    assert model._fused._packed is None
    monkeypatch.setattr("imagine_cli.world_models.ensemble.may_fuse", lambda values: False)
    assert equal(model.conditional(x, u, member if alone else None), found)
    assert not recwarn.list


def test_copies_and_other_dtypes_answer_as_they_should() -> None:
    model, (x, u, member) = single(), points(50)
    answer = model.conditional(x, u, member)
    assert equal(copy.deepcopy(model).conditional(x, u, member), answer)
    assert equal(pickle.loads(pickle.dumps(model)).conditional(x, u, member), answer)
    assert not any("fused" in name or "packed" in name for name in model.state_dict())
    model.double().conditional(x, u, member)
    assert equal(model.float().conditional(x, u, member), answer)


def test_a_state_dict_that_is_loaded_is_what_answers() -> None:
    model, other, (x, u, member) = single(), single(seed=1, elites=[0, 3, 1]), points(50)
    before, wanted = (one.conditional(x, u, member) for one in (model, other))
    model.load_state_dict(other.state_dict())
    assert equal(model.conditional(x, u, member), wanted)
    assert not equal(before, wanted)
    within = torch.nn.ModuleList([single()])
    within.load_state_dict({f"0.{name}": value for name, value in other.state_dict().items()})
    assert equal(within[0].conditional(x, u, member), wanted)


@pytest.mark.parametrize("way", ["linearized", "unscented", "particles"])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_an_empty_batch(way: str, weights: torch.dtype) -> None:
    model = random_ensemble(3, 1, reward=True, weights=weights)
    made = make_propagation(way, model)
    belief = Belief(torch.zeros(0, 3, dtype=model.dtype), torch.zeros(0, 3, 3, dtype=model.dtype))
    noise = TorchNoise((0,), model.dtype)
    action = ActionBelief(torch.zeros(0, 1, dtype=model.dtype))
    with torch.no_grad():
        found, _ = made.step(model, belief, action, made.begin(model, belief, noise), noise)
    assert (found.mean.shape, found.var.shape) == ((0, 3), (0, 3, 3))
    assert found.reward_mean is not None
    assert found.reward_mean.shape == (0,)
    none = torch.zeros(0, dtype=torch.int64)
    assert model.conditional(belief.mean, action.mean, none).mean.shape == (0, 3)
