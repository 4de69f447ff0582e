from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagine_cli import ImagineError, InputError, load_world_model, save_world_model
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.checkpoint import check_env, read_checkpoint
from imagine_cli.environments import describe, make_env
from tests.helpers.worlds import linear_module, small_gp


def saved(path: Path, **changes: Any) -> Path:
    """A good checkpoint with some of its entries changed; a value of None leaves one out."""
    save_world_model(small_gp(3, 1), path, metadata={"steps": 7}, overwrite=True)
    data = {**torch.load(path, weights_only=True), **changes}
    torch.save({key: value for key, value in data.items() if value is not None}, path)
    return path


def test_round_trip_to_the_bit(tmp_path: Path) -> None:
    env = make_env("Pendulum-v1", {"g": 9.81})
    model = small_gp(3, 1)
    metadata = {"scores": {"rmse": [0.1, 0.2]}, "policy": "random", "seed": 3}
    save_world_model(model, tmp_path / "wm.pt", env=describe(env, {"g": 9.81}), metadata=metadata)
    again = load_world_model(tmp_path / "wm.pt")
    belief = Belief(torch.zeros(2, 3).double(), 0.1 * torch.eye(3).double().expand(2, 3, 3))
    action = ActionBelief(torch.ones(2, 1).double())
    for a, b in zip(model.predict(belief, action), again.predict(belief, action), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    checkpoint = read_checkpoint(tmp_path / "wm.pt")
    assert checkpoint.kind == "gp"
    assert checkpoint.metadata == metadata
    assert checkpoint.env["id"] == "Pendulum-v1"
    assert checkpoint.env["kwargs"] == {"g": 9.81}
    assert checkpoint.env["observation_names"] == ["cos(theta)", "sin(theta)", "theta_dot"]


def test_the_file_is_plain_data_that_torch_loads_with_weights_only(tmp_path: Path) -> None:
    save_world_model(small_gp(2, 1), tmp_path / "wm.pt")
    data = torch.load(tmp_path / "wm.pt", weights_only=True)
    assert data["format"] == "imagine-world-model"
    assert data["version"] == 1
    assert set(data) == {"format", "version", "kind", "config", "state_dict", "env", "metadata"}


def print_() -> None:
    """Nothing that a checkpoint can hold."""


def test_numpys_numbers_become_plain(tmp_path: Path) -> None:
    metadata = {"a": np.float64(0.5), "b": [np.arange(2)], "c": (np.bool_(True), np.int64(3))}
    save_world_model(small_gp(2, 1), tmp_path / "wm.pt", metadata=metadata)
    found = read_checkpoint(tmp_path / "wm.pt").metadata
    assert found == {"a": 0.5, "b": [[0, 1]], "c": [True, 3]}
    assert type(found["a"]) is float


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "wm.pt"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists; give --force"):
        save_world_model(small_gp(2, 1), path)
    assert path.read_bytes() == b"precious"
    with pytest.raises(InputError, match=r"metadata\['x'\]\[1\] is a function"):
        save_world_model(small_gp(2, 1), path, metadata={"x": [1, print_]}, overwrite=True)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["wm.pt"]
    with pytest.raises(InputError, match="output folder .* does not exist"):
        save_world_model(small_gp(2, 1), tmp_path / "no" / "wm.pt")
    with pytest.raises(InputError, match="is a folder"):
        save_world_model(small_gp(2, 1), tmp_path, overwrite=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = Path.open

    def full(self: Path, mode: str = "r", **kwargs: Any) -> Any:
        place, how = (Path("/dev/full"), "wb") if "x" in mode else (self, mode)
        return real_open(place, how, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ImagineError, match=r"could not be written") as caught:
        save_world_model(small_gp(2, 1), tmp_path / "wm.pt")
    assert caught.value.exit_status == 1


CASES: list[tuple[dict[str, Any], str]] = [
    ({"format": None}, r"format is None, not 'imagine-world-model'"),
    ({"format": "imagine-policy"}, r"that is a policy: give it to --policy"),
    ({"version": 2}, r"version 2 of the checkpoint format.*reads version 1; update imagine"),
    ({"kind": None}, r"damaged: its 'kind' is missing"),
    ({"kind": "crystal-ball"}, r"no kind of world model 'crystal-ball'; there is .*gp"),
    ({"config": []}, r"damaged: its 'config' is missing or not a dict"),
    ({"config": {}}, r"needs process_noise"),
    ({"state_dict": {"inputs": 3}}, r"'inputs' in its state is not a plain tensor"),
    ({"state_dict": {}}, r"needs inputs, targets, lengthscales"),
    (
        {"state_dict": {"inputs": torch.tensor([[1.0, float("nan")]])}},
        r"not finite, the first in 'inputs' at \[0, 1\]",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES, ids=[case[1][:25] for case in CASES])
def test_tampered_files(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        load_world_model(saved(tmp_path / "wm.pt", **changes))
    assert str(tmp_path / "wm.pt") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit_together(tmp_path: Path) -> None:
    state = dict(small_gp(3, 1).state_dict())
    state["lengthscales"] = state["lengthscales"][:, :-1].clone()
    with pytest.raises(InputError, match=r"don't fit together.*lengthscales \(3, 3\)"):
        load_world_model(saved(tmp_path / "wm.pt", state_dict=state))
    state = dict(small_gp(3, 1).state_dict(), surplus=torch.zeros(1))
    with pytest.raises(InputError, match="has no surplus in its state_dict"):
        load_world_model(saved(tmp_path / "wm.pt", state_dict=state))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(InputError, match=r"there is no world model .*x\.pt"):
        load_world_model(path)
    with pytest.raises(InputError, match="is a folder; name the .pt file in it"):
        load_world_model(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        load_world_model(path)
    path.write_text("hello")
    with pytest.raises(InputError, match=r"torch\.save did not write it"):
        load_world_model(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="is an HDF5 file, such as a rollout"):
        load_world_model(path)
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="cut short or damaged, or torch.save did not write it"):
        load_world_model(tmp_path / "a.npz")
    torch.save([1, 2, 3], path)
    with pytest.raises(InputError, match="its format is 'list'"):
        load_world_model(path)
    whole = saved(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short or damaged"):
        load_world_model(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("place", ["alone", "config", "metadata", "state_dict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_never_run(tmp_path: Path, place: str, legacy: bool) -> None:
    bomb = Bomb(tmp_path / "was_run")
    path = saved(tmp_path / "wm.pt")
    data = torch.load(path, weights_only=True)
    content = bomb if place == "alone" else {**data, place: {"x": bomb}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"pickled Python objects.*refused;.*--trust-pickle"):
        load_world_model(path)
    assert not (tmp_path / "was_run").exists()


def test_a_pickled_module_loads_only_where_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    torch.save(linear_module(3, 1), path)
    with pytest.raises(InputError, match="--trust-pickle"):
        load_world_model(path)
    with pytest.warns(UserWarning, match="whatever code .* names is run"):
        loaded = load_world_model(path, trust_pickle=True)
    assert loaded.in_keys == ["action", "observation"]
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="holds a Linear, not a"):
        load_world_model(path, trust_pickle=True)
    with pytest.warns(UserWarning):  # plain data needs no trust, and is checked all the same
        assert load_world_model(saved(path), trust_pickle=True).kind == "gp"


def test_a_model_of_another_env(tmp_path: Path) -> None:
    pendulum = describe(make_env("Pendulum-v1"))
    save_world_model(small_gp(3, 1), tmp_path / "wm.pt", env=pendulum)
    load_world_model(tmp_path / "wm.pt", check=check_env(pendulum))
    cartpole = describe(make_env("CartPole-v1"))
    with pytest.raises(InputError, match=r"is a model of Pendulum-v1, not of CartPole-v1"):
        load_world_model(tmp_path / "wm.pt", check=check_env(cartpole))
    moon = describe(make_env("Pendulum-v1", {"g": 1.6}), {"g": 1.6})
    with pytest.warns(UserWarning, match=r"fitted with the env arguments none.*'g': 1\.6"):
        load_world_model(tmp_path / "wm.pt", check=check_env(moon))


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wm.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wm/data.pkl", bytes(2**24))
    with pytest.raises(InputError, match="unpacks to 16777216 bytes, far more than it has"):
        load_world_model(tmp_path / "wm.pt")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_gives_a_sentence_or_a_usable_model(tmp_path: Path, data: st.DataObject) -> None:
    path = saved(tmp_path / "wm.pt")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        model = load_world_model(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert torch.isfinite(model.inputs).all()
