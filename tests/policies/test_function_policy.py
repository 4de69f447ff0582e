"""Policies of one's own: functions, modules and objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict.nn import InteractionType, TensorDictModule
from torchrl.envs import GymEnv
from torchrl.modules import NormalParamExtractor, ProbabilisticActor, TanhNormal

from imagine_cli import ImaginedEnv, open_rollout, rerun_rollout, run_rollout
from imagine_cli.belief import Belief, point
from imagine_cli.cli import main
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.policies import LinearPolicy, MLPPolicy, make_policy
from tests.helpers.policy_envs import box_env, discrete_env
from tests.helpers.worlds import small_gp

ENV = box_env()
WEIGHT = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64)

MODULE = """
import torch

weight = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64)

def act(x):
    return x @ weight.to(x).T

class Act:
    def __call__(self, x):
        return act(x)

class Needs:
    def __init__(self, something):
        pass

network = torch.nn.Linear(3, 1)
number = 3

def push(x):
    return (x[:, 0] > 0).long()

def wide(x):
    return x

def broken(x):
    raise KeyError("no")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_policies.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_policies", raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["act", "Act"])
def test_a_function_is_its_actions_and_its_slope(name: str) -> None:
    policy = make_policy(f"own_policies:{name}", ENV)
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    root = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    belief = Belief(mean, root @ root.mT)
    action, _ = policy.act(0, belief, {})
    torch.testing.assert_close(action.mean, mean @ WEIGHT.T)
    torch.testing.assert_close(action.var, WEIGHT @ belief.var @ WEIGHT.T)
    torch.testing.assert_close(policy.at(mean), mean @ WEIGHT.T)


@pytest.mark.usefixtures("here")
def test_a_module_acts_in_its_own_dtype_and_choices_are_numbers() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    policy = make_policy("own_policies:network", ENV)
    assert policy.at(x).dtype == torch.float64
    codes = make_policy("own_policies:push", discrete_env(2)).at(x)
    assert (codes.argmax(-1) == (x[:, 0] > 0)).all()
    assert (codes.sum(-1) == 1).all()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("own_policies:absent", "policy 'own_policies:absent' can't be imported: AttributeError"),
        ("no_such_module:act", "can't be imported: ModuleNotFoundError"),
        ("own_policies:number", "is int, not a function of observations"),
        ("own_policies:Needs", "can't be made without arguments: TypeError"),
        ("own_policies:wide", r"gave actions \(\d+, 3\) at observations \(\d+, 3\), not \(\d+, 1"),
        ("own_policies:broken", r"failed at observations \(\d+, 3\) with KeyError: 'no'"),
    ],
)
def test_what_can_not_act(spec: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_policy(spec, ENV)


def test_a_rollout_by_ones_own_function_is_run_again_when_the_user_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(__file__).parents[2] / "sample_models" / "pendulum-linear.pt"
    command = f"rollout --env Pendulum-v1 --model {model} --policy own_policies:act --steps 3 -n 3"
    assert main(command.split()) == 0
    with open_rollout("rollout.h5") as rollout:
        assert rollout.attributes["policy"] == "own_policies:act"
        mean = rollout.mean(slice(0, 3), slice(0, 3))
        np.testing.assert_allclose(rollout.action_mean(slice(0, 3)), mean @ WEIGHT.T.numpy())
    assert main(["rerun", "rollout.h5"]) == 2
    assert "if that may run, give --policy own_policies:act" in capsys.readouterr().err
    assert main(["rerun", "rollout.h5", "--policy", "own_policies:act"]) == 0
    with pytest.raises(InputError, match="was made with the policy 'own_policies:act', not 'zero'"):
        rerun_rollout("rollout.h5", policy="zero")


def actions(policy: Any, tmp_path: Path) -> np.ndarray:
    summary = run_rollout(
        "Pendulum-v1", small_gp(3, 1), policy=policy, steps=4, trajectories=2, overwrite=True,
        output=tmp_path / "r.h5",
    )  # fmt: skip
    with open_rollout(summary.path) as rollout:
        return np.array(rollout.action_mean(slice(0, 2)))


def test_run_rollout_takes_objects(tmp_path: Path) -> None:
    expected = actions(LinearPolicy(WEIGHT, torch.zeros(1, dtype=torch.float64)), tmp_path)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.attributes["policy"] == "LinearPolicy"
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actions(lambda x: x @ WEIGHT.T, tmp_path), expected, rtol=1e-12)
    module = TensorDictModule(lambda x: x @ WEIGHT.T, ["observation"], ["action"])
    np.testing.assert_allclose(actions(module, tmp_path), expected, rtol=1e-12)
    with pytest.raises(InputError, match="an object acts in this process: save it to a file"):
        run_rollout("Pendulum-v1", "wm.pt", policy=module, engine="processes")
    with pytest.raises(ImagineError, match="is int, not a function"):
        actions(3, tmp_path)


def test_a_stochastic_actor_acts_with_its_mode(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(network, ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -2.0, "high": 2.0},
        default_interaction_type=InteractionType.RANDOM,
    )
    policy = make_policy(actor, ENV)
    x = torch.randn(5, 3)
    expected = 2 * torch.tanh(network(x)[0])
    assert actor.training
    torch.testing.assert_close(policy.at(x), expected, rtol=1e-5, atol=1e-5)


def test_imagined_env_takes_our_policies(tmp_path: Path) -> None:
    policy = MLPPolicy(ENV, [4])
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=[2])
    start = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]], dtype=torch.float64)
    np.save(tmp_path / "start.npy", start.numpy())
    found = env.rollout(4, policy=policy, tensordict=env.reset().set("observation", start))
    summary = run_rollout(
        "Pendulum-v1", small_gp(3, 1), policy=policy, steps=4, trajectories=2,
        start=str(tmp_path / "start.npy"), output=tmp_path / "r.h5",
    )  # fmt: skip
    with open_rollout(summary.path) as rollout:
        beliefs = rollout.var(slice(0, 2))[:, 1:]
    torch.testing.assert_close(found["next", "observation", "var"], torch.tensor(beliefs))
    found["next", "observation", "mean"].sum().backward()
    assert policy.layers[0].weight.grad.abs().max() > 0
    certain = policy(point(start)).mean
    torch.testing.assert_close(found["action", "mean"][:, 0], certain)
