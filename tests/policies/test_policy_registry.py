from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import imagine_cli.policies as policies
from imagine_cli.belief import ActionBelief, Belief, point
from imagine_cli.errors import InputError
from imagine_cli.policies import Policy, make_policy
from imagine_cli.policies.base import PolicyContext, PolicyState
from imagine_cli.policies.registry import kind_named
from imagine_cli.registry import POLICY_KINDS
from tests.helpers.acting import act
from tests.helpers.policy_envs import box_env


class Outsider(Policy):
    def __init__(self, argument: str, context: PolicyContext) -> None:
        self.argument, self.context = argument, context

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        return ActionBelief(observation.mean[..., :1]), state


def not_a_policy(argument: str, context: PolicyContext) -> int:
    return 3


@pytest.fixture
def outsiders(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = {
        "outsider": f"{__name__}:Outsider",
        "broken": "no_such_module_anywhere:make",
        "odd": f"{__name__}:not_a_policy",
    }
    points = [EntryPoint(name, value, "imagine_cli.policies") for name, value in offered.items()]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return points if group == "imagine_cli.policies" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)


@pytest.mark.usefixtures("outsiders")
def test_another_package_adds_a_policy() -> None:
    env = box_env()
    policy = make_policy("outsider:a:b", env, seed=4, dtype=torch.float32, device="cpu")
    assert isinstance(policy, Outsider)
    assert policy.argument == "a:b"
    assert policy.context == PolicyContext(env, 4, torch.float32, "cpu")
    assert policy.name == "outsider:a:b"
    policy.check(10**9, 10**9)
    assert act(policy, 0, point(torch.ones(2, 3))).mean.shape == (2, 1)


@pytest.mark.usefixtures("outsiders")
def test_what_goes_wrong_with_another_package() -> None:
    with pytest.raises(
        InputError, match=r"policy 'broken' of no_such_module_anywhere:make can't be"
    ):
        make_policy("broken", box_env(), seed=0)
    with pytest.raises(InputError, match=r"policy 'odd:1': .* returned a int, not an imagine_cli"):
        make_policy("odd:1", box_env(), seed=0)
    sentence = r"constant:..., cem, icem, mppi, broken, odd, outsider, a \.npy/\.csv/\.h5 file"
    with pytest.raises(InputError, match=sentence):
        make_policy("randm", box_env(), seed=0)


def test_an_unknown_policy_lists_what_there_is() -> None:
    with pytest.raises(InputError) as caught:
        make_policy("randm", box_env(), seed=0)
    assert str(caught.value) == (
        "no policy 'randm': use random, zero, constant:..., cem, icem, mppi, a .npy/.csv/.h5 "
        "file of actions, a .pt, .pt2, .onnx or Stable-Baselines3's .zip, or module:function of "
        "your own"
    )


@pytest.mark.parametrize("name", ["a.npy", "a.csv", "a.h5", "a.pt"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}': there is no such file; use random, zero"):
        make_policy(str(tmp_path / name), box_env(), seed=0)


def test_folders_and_unknown_endings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"that is a folder; use random"):
        make_policy(str(tmp_path), box_env(), seed=0)
    (tmp_path / "f.npy").mkdir()
    with pytest.raises(InputError, match=r"that is a folder; use random"):
        make_policy(str(tmp_path / "f.npy"), box_env(), seed=0)
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(InputError, match=r"a\.txt': the file's name says nothing that is known"):
        make_policy(str(tmp_path / "a.txt"), box_env(), seed=0)
    with pytest.raises(InputError, match=r"no policy '': use random"):
        make_policy("", box_env(), seed=0)


def test_kinds_and_public_names_lead_somewhere() -> None:
    for kind in POLICY_KINDS:
        assert POLICY_KINDS.load(kind).kind == kind
    assert kind_named(["linear"]) is None
    for name in policies.__all__:
        assert getattr(policies, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        policies.nothing  # noqa: B018


def test_the_package_imports_without_torch() -> None:
    code = "import imagine_cli.policies, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
