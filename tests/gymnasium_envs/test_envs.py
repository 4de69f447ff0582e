"""World models as Gymnasium envs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.linear_world import ENV_ID, A, B, Q
from tests.helpers.worlds import small_gp

MODELS = Path(__file__).parents[2] / "sample_models"
PENDULUM = {"model": str(MODELS / "pendulum-linear.pt"), "reward": "env"}
CARTPOLE = {"model": str(MODELS / "cartpole-gp.pt"), "reward": "env"}
# The real env says how long an episode is.
SHORT: dict[str, Any] = {"env_kwargs": {"max_episode_steps": 4}}
pytestmark = pytest.mark.filterwarnings("ignore:.*was fitted with the env arguments")


def make(**options: Any) -> Any:
    return gymnasium.make("imagine_cli:Imagined-v0", **options)


def make_vec(num_envs: int, **options: Any) -> Any:
    return gymnasium.make_vec("imagine_cli:Imagined-v0", num_envs=num_envs, **options)


def linear(scale: float = 1.0) -> LinearGaussianWorldModel:
    return LinearGaussianWorldModel.from_parameters(scale * A, B, np.zeros(2), Q)


@pytest.mark.parametrize(
    "imports",
    [
        "import gymnasium, imagine_cli",
        "import imagine_cli, gymnasium.vector",
        # as libraries do that ask whether it is installed
        "import imagine_cli; from importlib.util import find_spec; find_spec('gymnasium'); "
        "import gymnasium",
    ],
)
def test_its_id_is_known_whichever_is_imported_first(imports: str) -> None:
    script = (
        f"import sys; {imports}; print('Imagined-v0' in gymnasium.registry, "
        "'torch' in sys.modules, len([one for one in sys.meta_path if 'imagine' in repr(one)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "0"], done.stderr


@pytest.mark.filterwarnings("ignore:.*A Box|.*For Box action:UserWarning")
@pytest.mark.parametrize(
    "options",
    [PENDULUM, CARTPOLE, {"model": str(MODELS / "pendulum-ensemble.pt")}],
    ids=lambda options: Path(options["model"]).stem,
)
def test_gymnasium_checks_it(options: dict[str, Any]) -> None:
    check_env(make(**options).unwrapped)


@pytest.mark.parametrize("name", ["pendulum-ensemble", "cartpole-gp"])
def test_a_row_of_a_batch_is_the_env_with_its_seed(name: str) -> None:
    options = {"model": str(MODELS / f"{name}.pt"), "reward": "env"}
    if name.startswith("pendulum"):
        options |= SHORT
    batch = make_vec(3, **options)
    same = make_vec(3, **options, autoreset_mode="SameStep")
    assert batch.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert same.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    alone = [make(**options) for _ in range(3)]
    seen, _ = batch.reset(seed=5)
    seen_same, _ = same.reset(seed=[5, 6, 7])
    at = np.stack([env.reset(seed=5 + k)[0] for k, env in enumerate(alone)])
    assert (seen == at).all()
    assert (seen_same == at).all()
    over, episodes = np.zeros(3, bool), 0
    batch.action_space.seed(0)
    for _ in range(40):
        action = batch.action_space.sample()
        seen, reward, terminated, truncated, info = batch.step(action)
        assert info == {}
        if over.any():  # those begin anew, and the others see this action later on
            for k in np.flatnonzero(over):
                assert (seen[k] == alone[k].reset()[0]).all()
                assert (reward[k], terminated[k], truncated[k]) == (0.0, False, False)
            episodes += over.sum()
        for k in np.flatnonzero(~over):
            x, r, ends, cut, _ = alone[k].step(action[k])
            assert (seen[k] == x).all()
            assert (reward[k], terminated[k], truncated[k]) == (r, ends, cut)
        over = terminated | truncated
    assert episodes > 2


def test_the_step_of_the_end_begins_the_next_episode_where_that_is_asked_for() -> None:
    same = make_vec(2, **PENDULUM, **SHORT, autoreset_mode="SameStep")
    later = make_vec(2, **PENDULUM, **SHORT)
    same.reset(seed=0)
    later.reset(seed=0)
    for step in range(8):
        action = np.full((2, 1), 0.1 * step, np.float32)
        seen, reward, _, truncated, info = same.step(action)
        expected = later.step(action)
        assert (reward == expected[1]).all()
        assert truncated.all() == (step % 4 == 3)
        if truncated.all():
            assert info["_final_obs"].all()
            assert (info["final_obs"] == expected[0]).all()
            assert (seen == later.step(action)[0]).all()
        else:
            assert info == {}
            assert (seen == expected[0]).all()


def test_it_begins_where_the_real_env_does() -> None:
    for seed in (0, 7):
        real = gymnasium.make("Pendulum-v1").reset(seed=seed)[0]
        assert (make(**PENDULUM).reset(seed=seed)[0] == real).all()


def test_samples_have_the_moments_of_the_model() -> None:
    """Of a linear Gaussian model in closed form: 2,000 trajectories, six standard errors."""
    count, steps, force = 2000, 5, 0.5
    reward = "quadratic:target=0"
    envs = make_vec(count, model=linear(), env=ENV_ID, reward=reward)
    mean, var = envs.reset(seed=0)[0], np.zeros((2, 2))
    for _ in range(steps):
        seen = envs.step(np.full((count, 1), force, np.float32))[0]
        mean, var = mean @ A.T + force * B[:, 0], A @ var @ A.T + Q
    standard = np.linalg.solve(np.linalg.cholesky(var), (seen - mean).T)
    assert np.abs(standard.mean(1)).max() < 6 / count**0.5
    assert np.abs(np.cov(standard) - np.eye(2)).max() < 6 * (2 / count) ** 0.5


def test_rewards_and_ends_are_those_of_the_real_rules() -> None:
    pendulum = make(**PENDULUM)
    x, _ = pendulum.reset(seed=1)
    for force in (-3.0, 0.5, 2.0):  # the pendulum takes no more than 2
        u = np.clip(force, -2, 2)
        expected = -(np.arctan2(x[1], x[0]) ** 2 + 0.1 * x[2] ** 2 + 0.001 * u**2)
        x, reward, terminated, _, _ = pendulum.step(np.array([force], np.float32))
        assert reward == pytest.approx(expected, rel=1e-5)
        assert not terminated
        assert pendulum.observation_space.contains(x)
    cartpole = make_vec(8, **CARTPOLE)
    cartpole.reset(seed=0)
    ends = 0
    for _ in range(20):
        x, reward, terminated, _, _ = cartpole.step(np.ones(8, np.int64))
        assert (terminated == ((np.abs(x[:, 0]) > 2.4) | (np.abs(x[:, 2]) > np.pi / 15))).all()
        ends += terminated.sum()
    assert ends >= 8


def test_an_episode_has_the_length_of_the_real_one() -> None:
    for options, length in (({}, 200), (SHORT, 4)):
        env = make(**PENDULUM, **options)
        env.reset(seed=0)
        cut = [env.step(np.zeros(1, np.float32))[3] for _ in range(length)]
        assert cut == [False] * (length - 1) + [True]
    assert make_vec(2, **PENDULUM, max_episode_steps=7)._limit == 7


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "none.pt"}, "none.pt"),
        ({"model": str(MODELS / "pendulum-gp.pt")}, "has learned no reward; give one"),
        ({"model": small_gp(3, 1), "reward": "env"}, "does not say of which env it is; give --env"),
        ({**PENDULUM, "env": "CartPole-v1"}, "is a model of Pendulum-v1, not of CartPole-v1"),
        ({**PENDULUM, "members": "all"}, "'all' is not random or fixed"),
        ({**PENDULUM, "num_envs": 0}, "num_envs is 0; it must be 1 or more"),
        ({**PENDULUM, "autoreset_mode": "Disabled"}, "it must be NextStep or SameStep"),
    ],
)
def test_what_can_not_be_used(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        make_vec(**{"num_envs": 2, **options})
    assert sentence in str(raised.value)


def test_seeds_that_can_not_be_used() -> None:
    envs = make_vec(2, **PENDULUM)
    with pytest.raises(InputError, match="there are 1 seeds for 2 envs"):
        envs.reset(seed=[1])
    with pytest.raises(InputError, match="the seed is -1; it must be 0 or more"):
        envs.reset(seed=-1)


def test_a_model_that_loses_itself_is_a_sentence() -> None:
    env = make(model=linear(1e200), env=ENV_ID, reward="quadratic:target=0")
    env.reset(seed=0)
    with pytest.raises(ImagineError, match=r"of .*LinearWorld-v0 sampled .* not finite"):
        for _ in range(3):
            env.step(np.ones(1, np.float32))
