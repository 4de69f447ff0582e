from __future__ import annotations

import collections
import math
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchrl.modules.models.rbf_controller import RBFController

from imagine_cli.belief import Belief
from imagine_cli.errors import InputError
from imagine_cli.policies import (
    LinearPolicy,
    MLPPolicy,
    RBFPolicy,
    load_policy,
    make_policy,
    save_policy,
)
from imagine_cli.policies.parametric import ParametricPolicy
from tests.helpers.policy_envs import box_env, discrete_env

ENV = box_env((-2.0, -0.5), (2.0, 0.5))
M = torch.tensor([2.0, 0.5], dtype=torch.float64)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))
    )


def policies() -> list[ParametricPolicy]:
    return [
        LinearPolicy(normal(2, 3), normal(2)),
        LinearPolicy(normal(2, 3), normal(2), M),
        RBFPolicy(normal(6, 3), normal(6, 2), normal(3), M),
        MLPPolicy(ENV, hidden=[4]),
    ]


def belief() -> Belief:
    return Belief(normal(4, 3), torch.eye(3, dtype=torch.float64).expand(4, 3, 3))


def test_the_env_s_arguments_may_be_numpy_s(tmp_path: Path) -> None:
    env = replace(ENV, kwargs={"g": np.float64(9.8), "sizes": np.arange(2)})
    save_policy(policies()[0], tmp_path / "p.pt", env=env)
    assert load_policy(tmp_path / "p.pt", env).kind == "linear"
    with pytest.raises(InputError, match=r"the env's arguments\['x'\] is a object; a checkpoint"):
        save_policy(policies()[0], tmp_path / "q.pt", env=replace(ENV, kwargs={"x": object()}))


def content(**changes: Any) -> dict[str, Any]:
    policy = policies()[0]
    whole = {
        "format": "imagine-policy",
        "version": 1,
        "kind": "linear",
        "config": policy.config(),
        "state_dict": dict(policy.state_dict()),
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def refused(path: Path, sentence: str, env: Any = ENV) -> None:
    with pytest.raises(InputError, match=sentence):
        load_policy(path, env)


@pytest.mark.parametrize("k", range(4))
def test_round_trip(tmp_path: Path, k: int) -> None:
    policy, path = policies()[k], tmp_path / "p.pt"
    save_policy(policy, path, env=ENV, metadata={"how": ["by", 1, "hand"]})
    again = load_policy(path, ENV)
    assert type(again) is type(policy)
    assert again.name == str(path)
    assert again.gives_variance == policy.gives_variance
    assert all(p.requires_grad for p in again.parameters())
    for a, b in zip(policy(belief()), again(belief()), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    acting = make_policy(str(path), ENV, seed=0, dtype=torch.float32)
    assert {p.dtype for p in acting.parameters()} == {torch.float32}  # type: ignore[attr-defined]
    assert not acting(belief()).mean.requires_grad
    raw = torch.load(path, weights_only=True)
    assert raw["format"] == "imagine-policy"
    assert raw["metadata"] == {"how": ["by", 1, "hand"]}
    assert raw["env"]["id"] == "Test-v0"


def test_torchrls_controller_loads_as_it_is(tmp_path: Path) -> None:
    controller = RBFController(3, 2, max_action=M, n_basis=7)
    torch.save(controller.state_dict(), tmp_path / "p.pt")
    policy = load_policy(tmp_path / "p.pt", ENV)
    assert isinstance(policy, RBFPolicy)
    with torch.no_grad():
        mine, theirs = policy(belief()), controller.double()(*belief())
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=4e-6)  # its jitter of 1e-6 times bounds
    refused(tmp_path / "p.pt", r"which env 'Test-v0' .* doesn't have", box_env((0, -1), (1, 1)))


def test_saving_replaces_at_once_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    path.write_text("old")
    with pytest.raises(InputError, match=r"p\.pt exists; give --force"):
        save_policy(policies()[0], path)
    assert path.read_text() == "old"
    save_policy(policies()[0], path, overwrite=True)
    load_policy(path, ENV)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is a function; a checkpoint holds"):
        save_policy(policies()[0], path, metadata={"no": lambda: None}, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.pt"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    with pytest.raises(InputError, match=r"folder .*nowhere does not exist"):
        save_policy(policies()[0], tmp_path / "nowhere" / "p.pt")
    with pytest.raises(InputError, match=r"a ConstantPolicy has no parameters to save"):
        save_policy(make_policy("zero", ENV, seed=0), path, overwrite=True)  # type: ignore[arg-type]
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder is a folder"):
        save_policy(policies()[0], tmp_path / "folder", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["folder", "p.pt"]


def wide(*shape: int) -> torch.Tensor:
    return torch.zeros(1, dtype=torch.float64).expand(*shape)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": "imagine-world-model"},
            r"p\.pt is a world model, not a policy; give it as --m",
        ),
        ({"format": "other"}, r"has the format 'other'; a policy checkpoint has 'imagine-policy'"),
        ({"format": None}, r"holds 'version', 'kind', 'config', 'state_dict' and no 'format'"),
        ({"version": 2}, r"has version 2 of the format; this version of imagine reads version 1"),
        ({"version": True}, r"has version True of the format"),
        ({"version": None}, r"has version None"),
        ({"kind": "neat"}, r"is of a kind 'neat' that this version doesn't know"),
        ({"kind": None}, r"lacks its 'kind'"),
        ({"config": [1]}, r"lacks its 'config'"),
        ({"state_dict": None}, r"lacks its 'state_dict'"),
        ({"state_dict": {"weight": 3}}, r"'weight' in its state is not a plain tensor"),
        ({"state_dict": {"weight": normal(2, 3).to_sparse()}}, r"a tensor that is not a plain one"),
        ({"state_dict": {"weight": wide(10**9, 10**9)}}, r"claims more numbers than it has"),
        ({"state_dict": {"weight": normal(2, 3)}}, r"doesn't fit: its state has weight where wei"),
        (
            {"state_dict": {"weight": normal(2, 3) * math.inf, "bias": M}},
            r"not finite, the first in 'weight'",
        ),
        ({"config": {"squash": "cos"}}, r"its squash is 'cos'"),
        ({"env": {"id": "A-v0", "observation_size": 4, "action_size": 2}}, r"made for env 'A-v0' "),
    ],
)
def test_content_that_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    torch.save(content(), tmp_path / "p.pt")
    load_policy(tmp_path / "p.pt", ENV)
    torch.save(content(**changes), tmp_path / "p.pt")
    refused(tmp_path / "p.pt", sentence)


def test_wrong_sizes_say_both(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "p.pt")
    sentence = r"weight has the shape \(2, 3\) where \(2, 5\) belongs \(env 'Test-v0' has D = 5 and"
    refused(tmp_path / "p.pt", sentence, box_env((-1, -1), (1, 1), 5))
    save_policy(policies()[0], tmp_path / "p.pt", env=ENV, overwrite=True)
    sentence = r"made for env 'Test-v0' with D = 3 and F = 2, but env 'Test-v0' has D = 5 and F = 2"
    refused(tmp_path / "p.pt", sentence, box_env((-1, -1), (1, 1), 5))
    refused(tmp_path / "p.pt", r"continuous actions, but those of", discrete_env(2))


class Sly:
    def __reduce__(self) -> Any:
        return os.mkdir, ("sprung",)


def test_a_pickle_that_needs_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content(metadata={"x": Sly()}), "p.pt")
    refused(Path("p.pt"), r"holds pickled Python objects \((posix|nt)\.mkdir\).* refused")
    torch.save(policies()[0], "p.pt")
    refused(Path("p.pt"), r"imagine_cli.policies.linear.LinearPolicy\).* it is refused")
    with open("p.pt", "wb") as file:
        pickle.dump(Sly(), file)
    refused(Path("p.pt"), r"it is refused|can't be read")
    assert not Path("sprung").exists()


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    refused(path, r"there is no policy .*p\.pt")
    refused(tmp_path, r"is a folder")
    for data in (b"", b"PK\x03\x04", b"what is this?" * 30, pickle.dumps({"a": 1})):
        path.write_bytes(data)
        refused(path, r"is empty|cut short or damaged|torch.save did not write it|a bare pickle")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    refused(path, r"is an HDF5 file")
    torch.save([1, 2], path)
    refused(path, r"holds a list, not a policy checkpoint")
    torch.save(collections.OrderedDict(weight=M), path)
    refused(path, r"it holds 'weight' and no 'format'")
    torch.save({"X_tilde_train": M, "ell": M, "alpha_sq": M}, path)
    refused(path, r"is a world model, not a policy; give it as --model")
    torch.save({}, path)
    refused(path, r"it holds nothing and no 'format'")


def test_a_zip_that_swells_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/data.pkl", bytes(2**24))
    refused(tmp_path / "p.pt", r"unpacks to 16777216 bytes, far more than it has: refused")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_gives_a_sentence_or_no_harm(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "p.pt"
    save_policy(policies()[0], path, env=ENV, overwrite=True)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
        refused(path, r"is empty|cut short or damaged|torch.save did not write it")
        return
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        policy = load_policy(path, ENV)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert all(torch.isfinite(p).all() for p in policy.parameters())
