"""Converted models predict what their sources predict, to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from imagine_cli import (
    InputError,
    convert_world_model,
    export_world_model,
    load_world_model,
    save_world_model,
)
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.checkpoint import read_checkpoint
from tests.helpers.exported_modules import Network
from tests.helpers.worlds import small_gp

FOLDERS = Path(__file__).parent / "mbrl_lib"


def same(source: Path, output: Path) -> None:
    """The same distribution at points, and the same step from a belief, to the bit."""
    one, other = load_world_model(source), load_world_model(output)
    assert one.kind == other.kind
    assert one.config() == other.config()
    g = torch.Generator().manual_seed(0)
    size, actions = one.observation_size, one.action_size
    x = torch.randn(40, size, generator=g, dtype=torch.float64).to(one.dtype)
    u = torch.randn(40, actions, generator=g, dtype=torch.float64).to(one.dtype)
    belief = Belief(x, 0.1 * torch.eye(size, dtype=one.dtype).expand(40, size, size))
    pairs = [
        (one.conditional(x, u), other.conditional(x, u)),
        (one.predict(belief, ActionBelief(u)), other.predict(belief, ActionBelief(u))),
    ]
    for mine, theirs in pairs:
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", ["ensemble", "members"])
def test_mbrl_lib(name: str, tmp_path: Path) -> None:
    output = tmp_path / "wm.pt"
    convert_world_model(FOLDERS / name, output, env="Pendulum-v1")
    same(FOLDERS / name, output)
    checkpoint = read_checkpoint(output)
    assert checkpoint.env["id"] == "Pendulum-v1"
    assert checkpoint.env["observation_names"] == ["cos(theta)", "sin(theta)", "theta_dot"]
    assert checkpoint.metadata["converted_from"] == "mbrl-lib"


def test_torchrls_gaussian_process(tmp_path: Path) -> None:
    """In torchrl's names; test_torchrl_gp.py has one that torchrl fitted itself."""
    model = small_gp(3, 1)
    state = {
        "X_tilde_train": model.inputs,
        "ell": model.lengthscales,
        "alpha_sq": model.signal_variances.unsqueeze(-1),
        "sigma_sq_eps": model.noise_variances,
        "_cached_inv_K_noisy": torch.zeros(3, 12, 12),
        "_cached_beta": model.constants.beta[:, :12],
    }
    source, output = tmp_path / "theirs.pt", tmp_path / "wm.pt"
    torch.save(state, source)
    convert_world_model(source, output)
    same(source, output)
    assert read_checkpoint(output).source == "imagine"
    assert read_checkpoint(output).metadata == {"converted_from": "torchrl GPWorldModel"}


def test_exported_programs(tmp_path: Path) -> None:
    source, output = tmp_path / "wm.pt2", tmp_path / "wm.pt"
    sizes = {"observation_size": 3, "action_size": 2}
    export_world_model(Network("mean", "var", "reward"), source, **sizes, metadata={"seed": 3})
    convert_world_model(source, output)
    same(source, output)
    assert read_checkpoint(output).metadata["seed"] == 3
    with pytest.raises(InputError, match="is for deterministic models"):
        convert_world_model(source, output, process_noise=[0.1] * 3, overwrite=True)
    export_world_model(Network("mean"), source, **sizes, overwrite=True)
    model = convert_world_model(source, output, process_noise=[0.1, 0.2, 0.3], overwrite=True)
    at = load_world_model(output).conditional(torch.zeros(2, 3), torch.zeros(2, 2))
    torch.testing.assert_close(at.var, torch.tensor([[0.01, 0.04, 0.09]]).expand(2, 3))
    assert model.process_noise == [0.1, 0.2, 0.3]
    convert_world_model(source, output, process_noise=[0.5], overwrite=True)
    assert load_world_model(output).process_noise == [0.5, 0.5, 0.5]


def test_deterministic_networks_are_told_their_noise(tmp_path: Path) -> None:
    output = tmp_path / "wm.pt"
    convert_world_model(FOLDERS / "members", output, process_noise=[0.1, 0.0, 0.3])
    x, u = torch.zeros(2, 3), torch.zeros(2, 1)
    member = torch.tensor([0, 1])
    before = load_world_model(FOLDERS / "members").conditional(x, u, member)
    after = load_world_model(output).conditional(x, u, member)
    assert torch.equal(before.mean, after.mean)
    assert (before.var == 0).all()
    torch.testing.assert_close(after.var, torch.tensor([[0.01, 0.0, 0.09]]).expand(2, 3))


def test_what_a_folder_does_not_say_is_told(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDERS / "ensemble", tmp_path / "run"))
    shutil.rmtree(folder / ".hydra")
    told: dict[str, Any] = {
        "activation": "silu", "learned_rewards": True, "target_is_delta": True,
    }  # fmt: skip
    for name in told:
        some = {key: value for key, value in told.items() if key != name}
        with pytest.raises(InputError, match=f"say the rest .*--{name.replace('_', '-')}"):
            convert_world_model(folder, tmp_path / "wm.pt", **some)
    convert_world_model(folder, tmp_path / "wm.pt", **told)
    same(FOLDERS / "ensemble", tmp_path / "wm.pt")
    convert_world_model(folder, tmp_path / "wm.pt", **told, no_delta=[1], overwrite=True)
    assert load_world_model(tmp_path / "wm.pt").absolute == [1]
    with pytest.raises(InputError, match=r"absolute dimensions \[7\] .* not all among its 3"):
        convert_world_model(folder, tmp_path / "wm.pt", **told, no_delta=[7], overwrite=True)
    # what is told goes before what the config says
    told["learned_rewards"] = False
    model = convert_world_model(FOLDERS / "ensemble", tmp_path / "wm.pt", **told, overwrite=True)
    assert (model.observation_size, model.has_reward) == (4, False)


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    output = tmp_path / "wm.pt"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"env": "CartPole-v1"}, "is for 3 observations and 1 actions, and CartPole-v1 has 4 and"),
        ({"process_noise": [0.1]}, "is for deterministic models"),
        ({"activation": "gelu"}, r"activation \(silu, relu, leaky_relu, tanh\)"),
    ]
    for given, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            convert_world_model(FOLDERS / "ensemble", output, **given)
        assert not output.exists()
    save_world_model(small_gp(3, 1), output)
    with pytest.raises(InputError, match="is no folder of mbrl-lib"):
        convert_world_model(output, tmp_path / "b.pt", target_is_delta=True)
    with pytest.raises(InputError, match="exists; give --force"):
        convert_world_model(FOLDERS / "ensemble", output)
