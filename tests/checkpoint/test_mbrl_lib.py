"""mbrl-lib's folders: made by mbrl-lib 0.2.0 (make_mbrl_lib_folders.py), with its predictions."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from imagine_cli import InputError, load_world_model, run_rollout
from imagine_cli.checkpoint import read_checkpoint
from imagine_cli.cli import main
from imagine_cli.world_models import EnsembleWorldModel
from tests.checkpoint import make_mbrl_lib_folders as making

FOLDERS = Path(__file__).parent / "mbrl_lib"

# Both compute in float32, and order their sums differently: a few roundings of numbers below 16.
CLOSE = 1e-6


def agrees(model: EnsembleWorldModel, told: Any) -> None:
    """Each elite's means to 1e-6, variances to 1e-6 of themselves; the mixture is the elites'."""
    x, u = torch.tensor(told["obs"]), torch.tensor(told["act"])
    elites = model.elites.tolist()
    for k, network in enumerate(elites):
        at = model.conditional(x, u, torch.full((len(x),), k))
        np.testing.assert_allclose(at.mean, told["mean"][network], rtol=0, atol=CLOSE)
        np.testing.assert_allclose(at.var, told["var"][network], rtol=CLOSE, atol=0)
        assert (at.reward_mean is not None) == ("reward" in told)
        if at.reward_mean is not None:
            reward, var = told["reward"][network], told["reward_var"][network]
            np.testing.assert_allclose(at.reward_mean, reward, rtol=0, atol=CLOSE)
            np.testing.assert_allclose(at.reward_var, var, rtol=CLOSE, atol=0)
    # mbrl-lib's propagation "expectation" is the mean over the elites.
    mean = model.conditional(x, u).mean
    np.testing.assert_allclose(mean, told["mean"][elites].mean(0), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["ensemble", "members"])
def test_it_predicts_what_mbrl_lib_predicts(name: str) -> None:
    model = load_world_model(FOLDERS / name)
    agrees(model, np.load(FOLDERS / name / "predictions.npz"))


def test_what_the_folders_say() -> None:
    model = load_world_model(FOLDERS / "ensemble")
    assert (model.observation_size, model.action_size, model.has_reward) == (3, 1, True)
    assert model.dtype == torch.float64  # its normaliser is
    assert model.elites.tolist() == [2, 4, 3]
    assert (model.activation, model.absolute, model.deterministic) == ("silu", [], False)
    assert len(model.min_logvar) == 4
    assert len(set(model.min_logvar.tolist())) == 4  # learned
    notes = read_checkpoint(FOLDERS / "ensemble").metadata
    assert notes["propagation_method"] == "random_model"
    model = load_world_model(FOLDERS / "members")
    assert (model.absolute, model.deterministic, model.members) == ([2], True, 2)
    assert model.dtype == torch.float32


def test_a_rollout_of_a_folder(tmp_path: Path) -> None:
    import h5py

    summary = run_rollout(
        "Pendulum-v1", FOLDERS / "ensemble", steps=3, output=tmp_path / "r.h5", particles=8
    )
    assert np.isfinite(summary.end_sd).all()
    with h5py.File(tmp_path / "r.h5") as file:
        assert len(file.attrs["model_sha256"]) == 64
        assert file["reward/mean"].shape == (1, 3)


def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDERS / name, tmp_path / name))


def changed(folder: Path, *keys: str, value: Any) -> Path:
    path = folder / ".hydra" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    inner = config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(yaml.safe_dump(config))
    return folder


def test_differences_or_not(tmp_path: Path) -> None:
    told = np.load(FOLDERS / "ensemble" / "predictions.npz")
    x, u = torch.tensor(told["obs"]), torch.tensor(told["act"])
    folder = changed(copied("ensemble", tmp_path), "algorithm", "target_is_delta", value=False)
    model = load_world_model(folder)
    assert model.absolute == [0, 1, 2]
    mean = model.conditional(x, u, torch.zeros(40, dtype=torch.int64)).mean
    np.testing.assert_allclose(mean, told["mean"][2] - told["obs"], rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("no_delta", "absolute"), [(None, [0]), ("", []), ("2", [2])])
def test_what_the_options_say_goes_before_the_config(
    tmp_path: Path, no_delta: str | None, absolute: list[int]
) -> None:
    folder = changed(copied("ensemble", tmp_path), "overrides", "no_delta_list", value=[0])
    output = tmp_path / "wm.pt"
    given = [] if no_delta is None else ["--no-delta", no_delta]
    assert main(["convert", str(folder), "-o", str(output), "-q", *given]) == 0
    assert load_world_model(output).absolute == absolute
    assert read_checkpoint(output).metadata["class"] == "GaussianMLP"


def test_without_a_config_it_says_what_is_missing(tmp_path: Path) -> None:
    folder = copied("ensemble", tmp_path)
    shutil.rmtree(folder / ".hydra")
    with pytest.raises(
        InputError, match=r"say the rest to imagine convert .* --activation, --lear"
    ):
        load_world_model(folder)


@pytest.mark.parametrize(
    ("keys", "value", "sentence"),
    [
        (("overrides", "obs_process_fn"), "a.b.preprocess", "obs_process_fn a.b.preprocess"),
        (("dynamics_model", "_target_"), "mbrl.models.PlaNetModel", "is of a PlaNetModel"),
        (("dynamics_model", "activation_fn_cfg"), {"_target_": "torch.nn.GELU"}, "GELU"),
        (("overrides", "learned_rewards"), "${overrides.learned_rewards}", "refers to itself"),
        (("dynamics_model",), 3, "has no dynamics_model"),
        (("dynamics_model", "_target_"), ["x"], "is of a list"),
        (("overrides", "no_delta_list"), "2", "no list of whole numbers"),
        (("algorithm", "normalize"), "yes please", "has normalize yes please, not true or false"),
    ],
)
def test_configs_that_are_refused(
    tmp_path: Path, keys: tuple[str, ...], value: Any, sentence: str
) -> None:
    folder = changed(copied("ensemble", tmp_path), *keys, value=value)
    with pytest.raises(InputError, match=sentence) as caught:
        load_world_model(folder)
    assert "\n" not in str(caught.value)


MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k + 1}: &a{k + 1} {{<<: [{', '.join([f'*a{k}'] * 10)}]}}\n" for k in range(12)
)


@pytest.mark.parametrize(
    "text",
    ["a: !!int ''", "a: !!bool x", "a: !!timestamp x", "a: !!float ''", "? [1, 2]\n: 3", "a: \0",
     "[" * 5000, MERGED, "a: " + "x" * 2**18],
    ids=["int", "bool", "timestamp", "float", "key", "nul", "deep", "merged", "long"],
)  # fmt: skip
def test_odd_yaml_is_a_sentence(text: str, tmp_path: Path) -> None:
    folder = copied("ensemble", tmp_path)
    (folder / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="can't be read as YAML") as caught:
        load_world_model(folder)
    assert "\n" not in str(caught.value)


def test_without_pyyaml_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match=r"PyYAML is not installed; run: pip install .*\[mbrl\]"):
        load_world_model(FOLDERS / "ensemble")


def test_files_that_are_damaged(tmp_path: Path) -> None:
    folder = copied("ensemble", tmp_path)
    whole = torch.load(folder / "model.pth", weights_only=True)
    state = whole["state_dict"]
    for wrong in (
        {},
        {"state_dict": {}, "elite_models": None},
        {"state_dict": {**state, "surplus": torch.zeros(1)}, "elite_models": None},
        {"state_dict": {**state, "min_logvar": torch.zeros(1, 3)}, "elite_models": None},
        {"state_dict": state, "elite_models": [7]},
    ):
        torch.save(wrong, folder / "model.pth")
        with pytest.raises(InputError, match=r"model\.pth|ensemble") as caught:
            load_world_model(folder)
        assert "\n" not in str(caught.value)
    torch.save(whole, folder / "model.pth")
    (folder / "env_stats.pickle").unlink()
    with pytest.raises(InputError, match=r"says normalize, and there is no env_stats\.pickle"):
        load_world_model(folder)


def test_the_normaliser_of_a_hostile_folder_runs_nothing(tmp_path: Path) -> None:
    import os
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "was_run"),)

    folder = copied("ensemble", tmp_path)
    (folder / "env_stats.pickle").write_bytes(pickle.dumps({"mean": Bomb(), "std": Bomb()}))
    with pytest.raises(InputError, match="loading those can run any code"):
        load_world_model(folder)
    torch.save({"state_dict": Bomb(), "elite_models": None}, folder / "model.pth")
    with pytest.raises(InputError, match="is refused"):
        load_world_model(folder)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("activation", ["ReLU", "SiLU", "LeakyReLU", "Tanh"])
@pytest.mark.parametrize("kind", ["ensemble", "members", "one"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_live_against_mbrl_lib(
    tmp_path: Path, activation: str, kind: str, deterministic: bool
) -> None:
    """Models larger than the committed ones, where mbrl-lib is installed."""
    pytest.importorskip("mbrl.models")
    network = {
        **making.MLP, "in_size": 14, "out_size": 12, "num_layers": 3, "hid_size": 64,
        "deterministic": deterministic,
        "activation_fn_cfg": {"_target_": f"torch.nn.{activation}"},
    }  # fmt: skip
    model_config = {**network, "ensemble_size": 7 if kind == "ensemble" else 1}
    if kind == "members":
        outer = making.CONFIGS["members"]["dynamics_model"]
        model_config = {**outer, "ensemble_size": 3, "member_cfg": network}
    config = {
        "dynamics_model": model_config,
        "algorithm": {
            "learned_rewards": True, "target_is_delta": activation != "Tanh",
            "normalize": activation != "ReLU", "normalize_double_precision": False,
        },
        "overrides": {"no_delta_list": [0, 5]},
        "device": "cpu",
    }  # fmt: skip
    if kind == "ensemble":
        config["overrides"]["num_elites"] = 4
    theirs = making.made(config, seed=3)
    making.save(theirs, config, tmp_path / "run")
    obs, act = making.points(11, 3, np.float32)
    told = {"obs": obs, "act": act, **making.predicted(theirs, obs, act)}
    # Three layers of 64 units: outputs of up to 100, and as many roundings more.
    scale = max(1.0, float(np.abs(told["mean"]).max()))
    ours = load_world_model(tmp_path / "run")
    x, u = torch.tensor(obs), torch.tensor(act)
    for k, network_index in enumerate(ours.elites.tolist()):
        at = ours.conditional(x, u, torch.full((len(x),), k))
        np.testing.assert_allclose(at.mean, told["mean"][network_index], rtol=0, atol=CLOSE * scale)
        np.testing.assert_allclose(at.var, told["var"][network_index], rtol=1e-5, atol=0)
        assert at.reward_mean is not None
        found, wanted = at.reward_mean, told["reward"][network_index]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=CLOSE * scale)


@pytest.mark.parametrize("method", ["fixed_model", "random_model"])
def test_live_a_member_for_each_particle(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """mbrl-lib deals its elites out by a permutation; the same member here says the same."""
    pytest.importorskip("mbrl.models")
    told = np.load(FOLDERS / "ensemble" / "predictions.npz")
    theirs = making.made(making.CONFIGS["ensemble"])
    theirs.load(FOLDERS / "ensemble")
    theirs.set_propagation_method(method)
    x, u = torch.tensor(told["obs"][:39]), torch.tensor(told["act"][:39])
    order = torch.randperm(39, generator=torch.manual_seed(1))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: order)
    state = {"obs": x, "propagation_indices": order}
    mean, reward, _, _ = theirs.sample(u, state, deterministic=True)
    member = torch.empty(39, dtype=torch.int64)
    member[order] = torch.arange(39) // 13
    at = load_world_model(FOLDERS / "ensemble").conditional(x, u, member)
    np.testing.assert_allclose(at.mean, mean.detach(), rtol=0, atol=CLOSE)
    assert at.reward_mean is not None
    np.testing.assert_allclose(at.reward_mean, reward[:, 0].detach(), rtol=0, atol=CLOSE)
