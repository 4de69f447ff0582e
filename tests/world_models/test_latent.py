"""World models with a latent state: closed-form moments, the same bits, gradients, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv
from torchrl.envs.utils import check_env_specs

from imagine_cli import (
    ImaginedEnv,
    InputError,
    export_latent_world_model,
    load_world_model,
    open_rollout,
    run_rollout,
    save_world_model,
)
from imagine_cli.belief import ActionBelief, point
from imagine_cli.propagation import fitting, make_propagation
from imagine_cli.propagation.noise import TorchNoise
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.world_models.latent import LatentWorldModel
from tests.helpers.latent_worlds import Decode, Encode, Step, exported, latent_model, moments
from tests.helpers.pt2_files import DECLARED, MODEL, changed

STEPS, PARTICLES = 12, 20_000


def near(found: np.ndarray, expected: Any, sd: np.ndarray, count: int) -> None:
    """Within five standard errors of a mean of so many."""
    np.testing.assert_array_less(np.abs(found - expected), 5.0 * sd / count**0.5 + 1e-6)


def test_a_rollout_has_the_systems_own_moments(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    run_rollout(
        "Pendulum-v1", exported(tmp_path / "wm.pt2"), steps=STEPS, particles=PARTICLES, output=path
    )
    with open_rollout(path) as rollout:
        mean, var, action, reward = (
            rollout.numbers(name)[0]
            for name in ("observation/mean", "observation/var", "action/mean", "reward/mean")
        )
    for k, (m, s, r) in enumerate(moments(mean[0], action)):
        sd = np.sqrt(np.diag(s))
        near(mean[k + 1], m, sd, PARTICLES)
        # A Gaussian's sample covariance has variances (s_ii s_jj + s_ij²) / n.
        near(var[k + 1], s, np.sqrt(np.outer(sd, sd) ** 2 + s**2), PARTICLES)
        near(reward[k], r, np.array(1.0), PARTICLES)


def test_one_sampled_state_a_trajectory_has_them_too() -> None:
    """As policy searches, planners and Gymnasium envs imagine it."""
    model, count = latent_model(), 5000
    x, u = torch.tensor([0.2, -0.1, 0.4]).double(), torch.full((6, 1), 0.7).double()
    belief, noise = point(x.expand(count, 3)), TorchNoise((count,), torch.float64)
    torch.manual_seed(0)
    state = Sampled().begin(model, belief, noise)
    for k, (m, s, r) in enumerate(moments(x.numpy(), u.numpy())):
        action = ActionBelief(u[k].expand(count, 1))
        prediction, state = Sampled().step(model, belief, action, state, noise)
        near(prediction.mean.mean(0).numpy(), m, np.sqrt(np.diag(s)), count)
        assert prediction.reward_mean is not None
        near(prediction.reward_mean.mean().numpy(), r, np.array(1.0), count)


def test_the_same_bits_alone_and_beside_others(tmp_path: Path) -> None:
    """And in a checkpoint of ours."""
    path = exported(tmp_path / "wm.pt2")
    save_world_model(load_world_model(path), tmp_path / "wm.pt")
    for n, model in ((5, path), (2, path), (5, tmp_path / "wm.pt")):
        given: Any = {"trajectories": n, "steps": 5, "particles": 9, "save_particles": True}
        run_rollout("Pendulum-v1", model, output=tmp_path / f"{n}.h5", overwrite=True, **given)
        with open_rollout(tmp_path / f"{n}.h5") as rollout:
            found = {name: rollout.numbers(name)[:2] for name in rollout.datasets}
        if n == 5 and model == path:
            first = found
        assert all(np.array_equal(found[name], first[name]) for name in first)


def test_it_is_an_env_whose_gradients_reach_the_policy() -> None:
    model = latent_model()
    env = ImaginedEnv(model, GymEnv("Pendulum-v1"), batch_size=3)
    check_env_specs(env)
    assert env.rollout(4)["next", "propagation", "latent"].shape == (3, 4, 100, 5)
    way, u = make_propagation(None, model, particles=50), torch.zeros(1, 1, requires_grad=True)
    noise = TorchNoise((1,), torch.float64)
    belief = point(torch.zeros(1, 3, dtype=torch.float64))
    state = way.begin(model, belief, noise)
    for _ in range(2):
        prediction, state = way.step(model, belief, ActionBelief(u.double()), state, noise)
    prediction.mean[0, 2].backward()  # C (A B + B) of its third number
    expected = 0.2 * 0.0 + 0.7 * 0.3 - 0.3 * 0.05 + 0.3
    assert u.grad is not None
    assert float(u.grad) == pytest.approx(expected, rel=1e-6)


def test_without_noise_or_a_variance_it_is_deterministic(tmp_path: Path) -> None:
    class Plain(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return torch.stack([part.sum(-1) for part in given], -1)

    class Spread(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return latent.sum(-1), latent.sum(-1, keepdim=True).expand(-1, 3) * 0.5

    class Wide(torch.nn.Module):
        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return observation[:, :2] * 2.0

    path = tmp_path / "wm.pt2"
    export_latent_world_model(
        Wide(), Plain(), Spread(), path, env="Pendulum-v1", decodes=("reward", "mean")
    )
    model = load_world_model(path)
    assert (model.noise_size, model.latent_size, fitting(model)) == (0, 2, ["particles"])
    way, none = make_propagation(None, model, particles=2), TorchNoise((1,), torch.float32)
    x, u = torch.tensor([[1.0, 2.0, 3.0]]), ActionBelief(torch.tensor([[0.5]]))
    prediction, _ = way.step(model, point(x), u, way.begin(model, point(x), none), none)
    assert prediction.mean.tolist() == [[3.25] * 3]  # (2 + 4, 0.5), halved
    assert prediction.var.abs().max() == 0.0
    assert prediction.reward_mean is not None
    assert prediction.reward_mean.tolist() == [6.5]


class Bad(torch.nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: torch.Tensor) -> Any:
        return self.function(*given)


@pytest.mark.parametrize(
    ("parts", "given", "sentence"),
    [
        ((Bad(lambda x, n: x[0]), Step(), Decode()), {}, r"latent state \(3,\), not \(7, 'L'\)"),
        ((Encode(), Bad(lambda z, u, n: z[:, :2]), Decode()), {}, "step and decode fails"),
        ((Encode(), Step(), Bad(lambda z: z)), {}, r"mean of shape \(2, 4\)"),
        ((Encode(), Step(), Bad(lambda z: (z,) * 5)), {}, "5 outputs"),
        ((Encode(), Step(), Decode()), {"decodes": ("mean",)}, "4 outputs"),
        (
            (Encode(), Bad(lambda z, u, n: z + torch.randn_like(z)), Decode()), {},
            "draws at random.*noise",
        ),
        (
            (Encode(), Bad(lambda z, u, n: z - z.mean(0)), Decode()), {},
            "depends on the points beside it",
        ),
        ((Encode(), Step(), Decode()), {"observation_size": None}, "needs env, or"),
    ],
)  # fmt: skip
def test_modules_that_can_not_be_exported(
    parts: Any, given: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    sizes: dict[str, Any] = {"observation_size": 3, "action_size": 1, "noise_size": 2}
    with pytest.raises(InputError, match=sentence) as caught:
        export_latent_world_model(*parts, tmp_path / "wm.pt2", **{**sizes, **given})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_asking_for_what_it_can_not_do(tmp_path: Path) -> None:
    path = exported(tmp_path / "wm.pt2")
    for given, sentence in (
        ({"propagation": "linearized"}, "does not fit a world model of kind 'latent'; use partic"),
        ({"resample": True}, "goes on from its latent states; leave it out"),
        ({"members": "fixed"}, "has no members; leave it out"),
        ({"reward": "model"}, "leave the reward out"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_rollout("Pendulum-v1", path, output=tmp_path / "r.h5", **given)
    with pytest.raises(InputError, match="by the propagation particles"):
        load_world_model(path).predict(point(torch.zeros(1, 3)), ActionBelief(torch.zeros(1, 1)))
    assert not (tmp_path / "r.h5").exists()


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (DECLARED, {"latent_size": 3}, "can't be used"),
        (DECLARED, {"latent_size": "4"}, "needs a latent_size, not 4"),
        (DECLARED, {"noise_size": -1}, "needs a noise_size, not -1"),
        (DECLARED, {"noise_size": 10**6}, "needs a noise_size"),
        (DECLARED, {"out_keys": ["encoded", "latent", "var"]}, "outputs of a latent world model"),
        (DECLARED, {"out_keys": ["encoded", "latent", "mean", "mean"]}, "outputs of a latent"),
        (DECLARED, {"in_keys": ["latent", "observation", "action", "noise"]}, "too early"),
        (DECLARED, {"in_keys": ["observation", "latent", "action"]}, "not declared"),
        (DECLARED, {"dtype": 4}, "needs a dtype"),
        (MODEL, {"graph_module": {}}, "can't be read as an exported program"),
    ],
)
def test_damaged_files(name: str, change: Any, sentence: str, tmp_path: Path) -> None:
    path = exported(tmp_path / "good.pt2")
    with pytest.raises(InputError, match=sentence) as caught:
        load_world_model(changed(path, tmp_path, name, lambda data: {**data, **change}))
    assert "wm.pt2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_anywhere_is_a_sentence_or_a_model(tmp_path: Path) -> None:
    good = exported(tmp_path / "good.pt2").read_bytes()
    g, refused = np.random.default_rng(0), 0
    for _ in range(60):
        content = bytearray(good)
        for at in g.integers(len(good), size=3):
            content[at] = g.integers(256)
        (tmp_path / "wm.pt2").write_bytes(
            content[: g.integers(len(good)) if g.random() < 0.2 else None]
        )
        try:
            assert isinstance(load_world_model(tmp_path / "wm.pt2"), LatentWorldModel)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 5
