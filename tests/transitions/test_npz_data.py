"""``--data some.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import InputError, fit_world_model
from imagine_cli.environments import describe, make_env
from imagine_cli.fitting import collect
from imagine_cli.policies import make_policy
from imagine_cli.seeds import Stream, derived_seed
from imagine_cli.transitions.reader import read_recordings


def _arrays(env_id: str, steps: int) -> dict[str, np.ndarray]:
    env = make_env(env_id)
    about = describe(env)
    seed = derived_seed(0, Stream.FIT)
    data = collect(env, make_policy("random", about, seed=seed), steps=steps, seed=seed)
    names = ("observations", "actions", "next_observations", "rewards", "episode")
    return {name: getattr(data, name) for name in names}


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
@pytest.mark.parametrize("said", [True, False], ids=["episodes said", "episodes found"])
def test_a_run_saved_and_read_gives_the_very_model_of_the_run(
    env_id: str, said: bool, tmp_path: Path
) -> None:
    arrays = _arrays(env_id, 450)
    if not said:
        del arrays["episode"]
    np.savez_compressed(tmp_path / "run.npz", **arrays)
    how: dict[str, Any] = {"kind": "linear", "seed": 0, "reward": True}
    ran = fit_world_model(env_id, steps=450, **how)
    read = fit_world_model(env_id, data=tmp_path / "run.npz", **how)
    one, other = ran.model.state_dict(), read.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    for key in ("held_out_scores", "episodes", "steps", "env"):
        assert ran.metadata[key] == read.metadata[key]


def test_discrete_actions_are_numbers_or_codes(tmp_path: Path) -> None:
    arrays = _arrays("CartPole-v1", 300)
    numbers = arrays["actions"].argmax(axis=1)
    models = []
    for name, actions in (
        ("codes", arrays["actions"]), ("numbers", numbers), ("column", numbers[:, None]),
    ):  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", **{**arrays, "actions": actions})
        fitted = fit_world_model("CartPole-v1", data=tmp_path / f"{name}.npz", kind="linear")
        models.append(fitted.model.state_dict())
    for other in models[1:]:
        assert all(torch.equal(models[0][name], other[name]) for name in other)


def test_rows_in_no_order_are_each_their_own_episode(tmp_path: Path) -> None:
    arrays = _arrays("Pendulum-v1", 300)
    order = np.random.default_rng(0).permutation(300)
    del arrays["episode"]
    np.savez(tmp_path / "replay.npz", **{name: each[order] for name, each in arrays.items()})
    found = fit_world_model("Pendulum-v1", data=tmp_path / "replay.npz", kind="linear").metadata
    # A shuffle leaves one pair of neighbours beside each other, on average.
    assert 290 <= found["episodes"] <= 300
    assert [each["steps"] for each in found["held_out_scores"]["horizons"]["ahead"]] == [1]
    assert len(found["held_out_scores"]["horizons"]["left_out"]) == 2


GOOD = {
    "observations": np.zeros((60, 3)),
    "actions": np.zeros((60, 1)),
    "next_observations": np.zeros((60, 3)),
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"actions": None}, "no column that is known as action (it has observations, next_obs"),
        ({"actions": np.zeros((59, 1))}, "actions has 59 rows and observations has 60"),
        ({"actions": np.zeros((60, 2))}, "an action of Pendulum-v1 is 1 numbers: (60, 1)"),
        ({"observations": np.zeros((60, 4))}, "observation of Pendulum-v1 is 3 numbers: (60, 3)"),
        ({"next_observations": np.zeros((60, 1))}, "next_observations have the shape (60, 1)"),
        ({"rewards": np.zeros((60, 2))}, "rewards has the shape (60, 2), not (60,)"),
        ({"episode": np.full(60, 0.5)}, "episode holds numbers that are not whole"),
        ({"observations": np.zeros((60, 3), complex)}, "observations holds complex128"),
        ({"observations": np.array(3.0)}, "not a row of numbers for each step"),
        ({"actions": np.full((60, 1), np.nan)}, "the action at row 0 is not finite"),
        ({"actions": np.array([{}] * 60)}, "it holds Python objects"),
        ({"next_observations": np.where(np.arange(180).reshape(60, 3) == 7, np.inf, 0.0)},
         "the next observation at row 2 is not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_to_is_one_sentence(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.npz"
    arrays = {name: each for name, each in {**GOOD, **changed}.items() if each is not None}
    np.savez(path, **arrays)
    with pytest.raises(InputError) as raised:
        fit_world_model("Pendulum-v1", data=path, kind="linear")
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"no archive at all"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(InputError, match="damaged, or numpy.savez did not write it"):
        read_recordings([tmp_path / "bad.npz"])


def test_an_archive_whose_list_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    np.savez(path.open("wb"), **GOOD)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\1\2")] = 0
    path.write_bytes(content)
    with pytest.raises(InputError, match="bad is none of what can be read"):
        read_recordings([path])


def test_a_file_that_unpacks_to_far_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("observations.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match="observations.npy unpacks to 314572800 bytes"):
        read_recordings([path])


def test_a_pickle_in_it_never_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    traps = np.array([Trap()] * 60, dtype=object)
    np.savez(tmp_path / "trap.npz", **{**GOOD, "rewards": traps, "observations": traps})
    with pytest.raises(InputError, match="it holds Python objects"):
        read_recordings([tmp_path / "trap.npz"])
    assert not (tmp_path / "ran").exists()
