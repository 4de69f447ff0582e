"""An error that persists, against the linear system that has it as a state."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from imagine_cli import load_world_model, save_world_model
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.errors import InputError
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.unroll import ModelDynamics, begin, unroll
from imagine_cli.world_models import WorldModel
from imagine_cli.world_models.interfaces import HasMembers, SupportsPoints
from imagine_cli.world_models.model_error import ModelError
from tests.helpers.ensembles import random_ensemble
from tests.helpers.gp_models import random_model, stacked
from tests.helpers.linear_systems import linear_model

SHARE, PERSISTENCE = [0.5, 0.2, 0.9], 0.8
STEPS = 12


class Feedback:
    """``u = K x``."""

    acts_at_points = True

    def __init__(self, gain: Tensor) -> None:
        self.gain = gain

    def begin(self, observation: Belief, trajectories: Tensor) -> dict[str, Tensor]:
        return {}

    def act(self, step: int, observation: Belief, state: Any) -> tuple[ActionBelief, Any]:
        k = self.gain
        cross = k.mT.expand(len(observation.mean), *k.mT.shape)
        return ActionBelief(observation.mean @ k.mT, k @ observation.var @ k.mT, cross), state

    def at(self, x: Tensor) -> Tensor:
        return x @ self.gain.mT


def correlation(size: int) -> Tensor:
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(1)).double()
    var = root @ root.mT
    scale = var.diagonal().rsqrt()
    return (scale[:, None] * var * scale).diagonal_scatter(torch.ones(size).double())


def with_error(model: WorldModel, share: Any = SHARE) -> WorldModel:
    model.model_error = ModelError(share, PERSISTENCE, correlation(model.observation_size))
    return model


def variances(
    model: WorldModel, policy: Any, belief: Belief, name: str, steps: int = STEPS, **parameters: Any
) -> Tensor:
    """Covariances ``(B, T, D, D)``."""
    dynamics = ModelDynamics(model, make_propagation(name, model, **parameters))
    noise = TrajectoryNoise(3, 0, len(belief.mean), model.dtype)
    with torch.no_grad():
        state = begin(dynamics, policy, belief, noise)
        found = unroll(dynamics, policy, belief, state, noise, steps)
        return torch.stack([step.prediction.var for step in found], dim=1)


def augmented(model: Any, gain: Tensor, var: Tensor) -> Tensor:
    """The same of ``[x, z]``, which is a linear system without an error: ``(T, D, D)``."""
    error, noise = model.model_error, model.noise_covariance
    size = len(noise)
    gamma = torch.diag((error.share * noise.diagonal()).sqrt())
    kept = (1.0 - error.share).sqrt()
    closed = model.transition + model.control @ gain
    z = PERSISTENCE * torch.eye(size).double()
    system = torch.cat([torch.cat([closed, gamma], 1), torch.cat([torch.zeros_like(z), z], 1)])
    fresh = torch.block_diag(kept[:, None] * noise * kept, (1 - PERSISTENCE**2) * error.correlation)
    var = torch.block_diag(var, error.correlation)
    steps = []
    for _ in range(STEPS):
        var = system @ var @ system.mT + fresh
        steps.append(var[:size, :size])
    return torch.stack(steps)


@pytest.mark.parametrize("name", ["moments", "linearized", "unscented"])
@pytest.mark.parametrize("width", [0.0, 0.1])
def test_it_is_exact_where_the_model_is_linear(name: str, width: float) -> None:
    model: Any = with_error(linear_model(3, 2, reward=False))
    policy = Feedback(0.2 * torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double())
    belief = Belief(torch.ones(2, 3).double(), width * torch.eye(3).double().expand(2, 3, 3))
    found = variances(model, policy, belief, name)
    wanted = augmented(model, policy.gain, belief.var[0])
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("resample", [False, True])
def test_particles_agree_within_their_error(resample: bool) -> None:
    count = 20_000
    model: Any = with_error(linear_model(3, 2, reward=False))
    policy = Feedback(0.1 * torch.ones(2, 3).double())
    belief = point(torch.ones(1, 3).double())
    found = variances(model, policy, belief, "particles", particles=count, resample=resample)[0]
    wanted = augmented(model, policy.gain, belief.var[0])
    if resample:  # the policy sees the belief, not the particle
        policy.acts_at_points = False
    deviations = wanted.diagonal(dim1=-2, dim2=-1)
    error = (2.0 / (count - 1)) ** 0.5 * deviations
    # What is drawn anew errs anew at each step, and those errors add up.
    slack = 4.5 * (STEPS**0.5 if resample else 1.0)
    assert ((found.diagonal(dim1=-2, dim2=-1) - deviations).abs() < slack * error).all()


def test_sampled_trajectories_spread_as_particles_do() -> None:
    from imagine_cli.propagation.sampled import Sampled

    model: Any = with_error(linear_model(3, 2, reward=False))
    policy, count = Feedback(0.1 * torch.ones(2, 3).double()), 4000
    dynamics = ModelDynamics(model, Sampled())
    noise = TrajectoryNoise(0, 0, count, model.dtype)
    belief = point(torch.ones(count, 3).double())
    with torch.no_grad():
        state = begin(dynamics, policy, belief, noise)
        ends = list(unroll(dynamics, policy, belief, state, noise, STEPS))[-1].prediction.mean
    wanted = augmented(model, policy.gain, torch.zeros(3, 3).double())[-1].diagonal()
    assert ((ends.var(0) / wanted - 1).abs() < 4.5 * (2.0 / (count - 1)) ** 0.5).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_the_slope_is_the_derivative_of_the_mean_by_the_mean(compiled: bool) -> None:
    """Of a Gaussian belief, ``E[∂m/∂x̃]`` is ``∂E[m]/∂μ̃``."""
    model = random_model(3, 2, 1, 12, units=False)
    if compiled:
        model.compile()
    belief, action = stacked(model, 4, 0.3)
    mean, u = belief.mean.requires_grad_(), action.mean.requires_grad_()
    found = model.predict(Belief(mean, belief.var), action._replace(mean=u))
    assert found.slope is not None
    for k in range(2):
        wanted = torch.autograd.grad(found.mean[:, k].sum(), (mean, u), retain_graph=True)
        torch.testing.assert_close(found.slope[:, k], torch.cat(wanted, -1), rtol=1e-9, atol=1e-11)


def test_moments_of_a_gp_are_those_of_its_particles() -> None:
    """While beliefs are narrow, and the variance is nearly the same all over them."""
    model = with_error(load_world_model("sample_models/pendulum-gp.pt"))
    policy = Feedback(torch.tensor([[0.2, -0.1, -0.1]]).double())
    belief = point(torch.tensor([[0.0, 1.0, 0.5]]).double())
    kinds: list[dict[str, Any]] = [
        {"name": "moments"}, {"name": "linearized"}, {"name": "unscented"},
        {"name": "particles", "particles": 4000, "members": "random"},
    ]  # fmt: skip
    found = [variances(model, policy, belief, steps=8, **kind)[0] for kind in kinds]
    alone = variances(_without(model), policy, belief, "moments", steps=8)[0]
    wanted = found[0].diagonal(dim1=-2, dim2=-1)
    assert (wanted / alone.diagonal(dim1=-2, dim2=-1))[-1].max() > 1.5
    for other in found[1:]:
        ratio = other.diagonal(dim1=-2, dim2=-1) / wanted
        assert (ratio - 1).abs().max() < 0.12


def _without(model: WorldModel) -> WorldModel:
    model.model_error = None
    return model


@pytest.mark.parametrize("name", ["moments", "linearized", "unscented", "particles"])
def test_a_share_of_zero_changes_nothing(name: str) -> None:
    model = linear_model(3, 2, reward=False)
    policy, belief = Feedback(0.1 * torch.ones(2, 3).double()), point(torch.ones(2, 3).double())
    parameters = {"particles": 3} if name == "particles" else {}
    plain = variances(model, policy, belief, name, steps=1, **parameters)
    same = variances(with_error(model, [0.0] * 3), policy, belief, name, steps=1, **parameters)
    if name != "particles":  # whose errors are drawn all the same
        torch.testing.assert_close(same, plain, rtol=1e-12, atol=1e-15)
    assert same.shape == plain.shape


@pytest.mark.parametrize("name", ["moments", "linearized", "unscented"])
def test_it_is_differentiable(name: str) -> None:
    model = with_error(random_model(0, 2, 1, 5, units=False), [0.5, 0.0])
    belief, action = stacked(model, 2, 0.2)
    assert action.cross_covariance is not None
    way = make_propagation(name, model)
    noise = TrajectoryNoise(0, 0, 2, model.dtype)

    def two(mean: Tensor, u: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        now, acted = Belief(mean, belief.var), action._replace(mean=u, cross_covariance=gain)
        state = way.begin(model, now, noise)
        for _ in range(2):
            found, state = way.step(model, now, acted, state, noise)
            now = Belief(found.mean, found.var)
        return now

    inputs = belief.mean, action.mean, action.cross_covariance
    assert torch.autograd.gradcheck(two, [x.clone().requires_grad_() for x in inputs])


@pytest.mark.parametrize("protocol", [SupportsPoints, HasMembers])
def test_a_protocol_asks_for_what_a_class_or_an_instance_has(protocol: Any) -> None:
    """From Python 3.12 on isinstance does not see what a module's ``__getattr__`` finds."""
    model = with_error(random_ensemble(3, 1, 2, hidden=(4,)))
    assert isinstance(model, protocol)
    for name in protocol.__annotations__:
        inspect.getattr_static(model, name)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"share": [0.5, 1.5, 0.0]}, "from 0 to 1"),
        ({"persistence": 1.0}, "less than 1"),
        ({"share": [0.5, float("nan"), 0.0]}, "from 0 to 1"),
        ({"correlation": 2.0 * torch.eye(3)}, "no matrix of correlations"),
        ({"correlation": torch.eye(2)}, "don't fit together"),
    ],
)
def test_numbers_that_are_none(changed: dict[str, Any], message: str) -> None:
    good = {"share": SHARE, "persistence": PERSISTENCE, "correlation": torch.eye(3)}
    with pytest.raises(InputError, match=message):
        ModelError(**(good | changed))


def test_a_checkpoint_has_it(tmp_path: Any) -> None:
    from imagine_cli.checkpoint import read_checkpoint

    model = with_error(linear_model(3, 2))
    save_world_model(model, tmp_path / "wm.pt")
    found = load_world_model(tmp_path / "wm.pt").model_error
    assert found is not None
    assert model.model_error is not None
    for name, value in model.model_error.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    checkpoint = read_checkpoint(tmp_path / "wm.pt")
    state = {**checkpoint.state_dict, "model_error.share": torch.ones(2).double()}
    with pytest.raises(InputError, match="a model error of 3 dimensions"):
        replace(checkpoint, state_dict=state).model()
