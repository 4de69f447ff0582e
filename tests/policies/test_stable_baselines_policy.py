"""Zips of Stable-Baselines3: made by it where it is there, and written by hand."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from imagine_cli.cli import main
from imagine_cli.environments import describe_named
from imagine_cli.errors import InputError
from imagine_cli.policies import make_policy
from tests.helpers.policy_envs import box_env

ENV = box_env(observation_size=3)
BOX = {":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gAWV"}
POLICY = {"__module__": "stable_baselines3.common.policies", ":serialized:": "gAWV"}


class Runs:
    """What a zip must not be able to do: an object that runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("it ran",)


def ppo_state(size: int = 3, hidden: int = 4) -> dict[str, Any]:
    torch.manual_seed(0)
    shapes = {
        "log_std": (1,),
        "mlp_extractor.policy_net.0.weight": (hidden, size),
        "mlp_extractor.policy_net.0.bias": (hidden,),
        "mlp_extractor.value_net.0.weight": (hidden, size),
        "mlp_extractor.value_net.0.bias": (hidden,),
        "action_net.weight": (1, hidden),
        "action_net.bias": (1,),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def write(path: Path, state: Any, **data: Any) -> str:
    said = {
        "policy_class": POLICY, "action_space": BOX, "policy_kwargs": {}, "use_sde": False, **data
    }  # fmt: skip
    stored = io.BytesIO()
    torch.save(state, stored)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(said))
        archive.writestr("policy.pth", stored.getvalue())
    return str(path)


def test_a_ppo_policy_is_its_network_within_the_bounds(tmp_path: Path) -> None:
    state = ppo_state()
    x = 3 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    w, b, v, c = (
        state[f"{name}.{part}"].numpy()
        for name in ("mlp_extractor.policy_net.0", "action_net")
        for part in ("weight", "bias")
    )
    relu = {"activation_fn": "<class 'torch.nn.modules.activation.ReLU'>"}
    for told, between in (({}, np.tanh), (relu, lambda y: y * (y > 0))):
        policy = make_policy(write(tmp_path / "ppo.zip", state, policy_kwargs=told), ENV)
        expected = np.clip(between(x @ w.T + b) @ v.T + c, -2, 2)
        np.testing.assert_allclose(policy.at(torch.from_numpy(x)), expected, rtol=1e-5, atol=1e-6)
        assert (np.abs(expected) == 2).any()


def test_inspect_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", write(tmp_path / "ppo.zip", ppo_state()), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "policy"
    assert found["policy_kind"] == "mlp"
    assert found["config"] == {"hidden": [4], "activation": "tanh", "squash": "clip"}
    assert found["metadata"] == {"stable-baselines3": "PPO or A2C"}


@pytest.mark.parametrize(
    ("state", "data", "sentence"),
    [
        ({}, {}, "it has another network"),
        ({"q_net.q_net.1.weight": torch.ones(2, 3)}, {}, "it has another network"),
        ({"features_extractor.0.weight": torch.ones(1)} | ppo_state(), {}, "features extractor"),
        ({"actor.mu.0.weight": torch.ones(1, 3)}, {"use_sde": True}, "it has gSDE"),
        (
            ppo_state(),
            {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}},
            "the activation <class 'torch.nn.modules.activation.ELU'>",
        ),
        (ppo_state(), {"policy_class": {"__module__": "mine"}}, "it has a policy of mine"),
        (ppo_state(), {"policy_class": 3}, "can't be read as a zip of Stable-Baselines3"),
        ([1], {}, "can't be read as a zip of Stable-Baselines3"),
        (ppo_state(size=4), {}, "layers.0.weight has the shape (4, 4) where (4, 3) belongs"),
        (
            ppo_state() | {"action_net.weight": torch.full((1, 4), torch.nan)},
            {},
            "holds numbers that are not finite, the first in 'action_net.weight'",
        ),
        (
            ppo_state(),
            {"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>"}},
            "gives discrete actions, but those of env 'Test-v0' are continuous",
        ),
    ],
)
def test_what_is_refused(state: Any, data: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        make_policy(write(tmp_path / "other.zip", state, **data), ENV)
    assert sentence in str(raised.value)


def test_nothing_in_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="can't be read as a zip of Stable-Baselines3"):
        make_policy(write(tmp_path / "bad.zip", {**ppo_state(), "more": Runs()}), ENV)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("algorithm", "env_id", "options"),
    [
        ("PPO", "Pendulum-v1", {}),
        ("PPO", "Pendulum-v1", {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
        ("PPO", "CartPole-v1", {"policy_kwargs": {"net_arch": []}}),
        ("A2C", "CartPole-v1", {"policy_kwargs": {"activation_fn": torch.nn.ReLU}}),
        ("SAC", "Pendulum-v1", {"policy_kwargs": {"net_arch": [16, 8, 8]}}),
        ("TD3", "Pendulum-v1", {}),
        ("DDPG", "MountainCarContinuous-v0", {"policy_kwargs": {"activation_fn": torch.nn.Tanh}}),
        ("DQN", "Acrobot-v1", {}),
    ],
)
def test_it_acts_as_stable_baselines_does(
    algorithm: str, env_id: str, options: dict[str, Any], tmp_path: Path
) -> None:
    library = pytest.importorskip("stable_baselines3")
    agent = getattr(library, algorithm)("MlpPolicy", env_id, seed=0, device="cpu", **options)
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    agent.save(tmp_path / "agent.zip")
    env = describe_named(env_id)
    policy = make_policy(str(tmp_path / "agent.zip"), env, dtype=torch.float32)
    box = gymnasium.make(env_id).observation_space
    low, high = np.maximum(box.low, -5), np.minimum(box.high, 5)
    x = np.random.default_rng(0).uniform(low, high, (50, len(low))).astype(np.float32)
    expected = np.stack([env.encode_action(u) for u in agent.predict(x, deterministic=True)[0]])
    np.testing.assert_allclose(policy.at(torch.from_numpy(x)), expected, rtol=1e-4, atol=1e-5)
