"""``--data``, a Minari dataset: one that Minari itself wrote, against what Minari reads of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from imagine_cli import InputError, fit_world_model
from imagine_cli.environments import describe, make_env
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.probe import probing
from imagine_cli.transitions.join import join
from imagine_cli.transitions.reader import read_recordings


def _episode(env: gymnasium.Env[Any, Any], seed: int, longest: int) -> EpisodeBuffer:
    observations, actions, rewards, terminated, truncated = (
        [env.reset(seed=seed)[0]],
        [],
        [],
        [],
        [],
    )
    ended = False
    while not ended and len(actions) < longest:
        actions.append(env.action_space.sample())
        observation, reward, ending, cut, _ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(float(reward))
        terminated.append(ending)
        truncated.append(cut)
        ended = ending or cut
    return EpisodeBuffer(
        seed=seed,
        observations=np.stack(observations),
        actions=np.stack(actions),
        rewards=rewards,
        terminations=terminated,
        truncations=truncated,
    )


def _dataset(
    env_id: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: str = "hdf5",
    **kwargs: Any,
) -> tuple[Path, minari.MinariDataset]:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    env = gymnasium.make(env_id, **kwargs)
    env.action_space.seed(0)
    episodes = [_episode(env, seed, 40) for seed in range(12)]  # so that 10 comes after 9
    written = minari.create_dataset_from_buffers(
        "test/random-v0", episodes, env=env, eval_env=env, algorithm_name="random",
        data_format=stored,
    )  # fmt: skip
    return folder / "test" / "random-v0", written


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("stored", ["hdf5", "arrow", "parquet"])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_it_reads_what_minari_reads(
    env_id: str, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = _dataset(env_id, tmp_path, monkeypatch, stored)
    about = describe(make_env(env_id))
    episodes = list(written.iterate_episodes())
    paths = [folder, folder / "data", Path("test", "random-v0")]
    for path in [*paths, folder / "data" / "main_data.hdf5"] if stored == "hdf5" else paths:
        (recording,) = read_recordings([path])
        assert (recording.env_id, recording.env_kwargs) == (env_id, {})
        found = join([recording], about, reward=True)
        assert len(found) == written.total_steps
        for number, episode in enumerate(episodes):
            rows = found.episode == number
            assert rows.sum() == len(episode.actions)
            np.testing.assert_array_equal(found.observations[rows], episode.observations[:-1])
            np.testing.assert_array_equal(found.next_observations[rows], episode.observations[1:])
            np.testing.assert_array_equal(found.rewards[rows], episode.rewards)
            if env_id == "CartPole-v1":
                np.testing.assert_array_equal(found.actions[rows].argmax(1), episode.actions)
                np.testing.assert_array_equal(found.actions[rows].sum(1), 1.0)
            else:
                np.testing.assert_array_equal(found.actions[rows], episode.actions)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_of_it_knows_its_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = _dataset("Pendulum-v1", tmp_path, monkeypatch, g=5.0)
    fitted = fit_world_model(data=folder, kind="linear", reward=True)
    assert (fitted.env.id, fitted.env.kwargs) == ("Pendulum-v1", {"g": 5.0})
    (source,) = fitted.metadata["data"]
    assert (source["format"], source["transitions"], source["episodes"]) == ("minari", 480, 12)
    with pytest.raises(InputError, match="is of Pendulum-v1, not of CartPole-v1"):
        fit_world_model("CartPole-v1", data=folder, kind="linear")


def _change_metadata(folder: Path, **changes: Any) -> None:
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _cut_actions(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        actions = file["episode_3/actions"][:-1]
        del file["episode_3/actions"]
        file["episode_3/actions"] = actions


def _link_away(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_3/actions"]
        file["episode_3/actions"] = h5py.ExternalLink("elsewhere.h5", "/actions")


def _lose_a_number(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        file["episode_10/observations"][7, 1] = np.nan


def _write_words(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_3/rewards"]
        file["episode_3/rewards"] = np.array([b"much"] * 40, dtype=object)


def _without_observations(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_3/observations"]


def _without_episodes(folder: Path) -> None:
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        for name in list(file):
            del file[name]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: _change_metadata(folder, data_format="zip"), "is stored as 'zip', which"),
        (lambda folder: _change_metadata(folder, observation_space='{"type": "Dict"}'),
         "observations of the space Dict; imagine works on a flat Box"),
        (lambda folder: (folder / "data" / "metadata.json").write_text("{"),
         "metadata.json can't be read as JSON"),
        (lambda folder: _change_metadata(folder, env_spec=None), "give --env"),
        (lambda folder: (folder / "data" / "main_data.hdf5").unlink(), "there is no file"),
        (_cut_actions, "episode_3 has observations of shape (41, 3) and actions of shape (39, 1)"),
        (_link_away, "is a link to somewhere else, which is not followed"),
        (_lose_a_number, "the observation at episode 10, step 7 is not finite"),
        (_write_words, "rewards of episode_3 hold object, not numbers"),
        (_without_observations, "episode_3 has no dataset observations"),
        (_without_episodes, "has no episode: it is not"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_to_is_one_sentence(
    damage: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = _dataset("Pendulum-v1", tmp_path, monkeypatch)
    damage(folder)
    with pytest.raises(InputError) as raised:
        fit_world_model(data=folder, kind="linear")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_before_minari_0_5_the_metadata_were_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = _dataset("Pendulum-v1", tmp_path, monkeypatch)
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        file.attrs["env_spec"] = metadata["env_spec"]
    (folder / "data" / "metadata.json").unlink()
    assert read_recordings([folder])[0].env_id == "Pendulum-v1"


def test_a_file_that_crashes_the_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = _dataset("Pendulum-v1", tmp_path, monkeypatch)
    parent, read = os.getpid(), safe_hdf5.read
    monkeypatch.setattr(
        safe_hdf5, "read", lambda *args: read(*args) if os.getpid() == parent else os.abort()
    )
    with probing(), pytest.raises(InputError, match="the HDF5 library crashes on it"):
        read_recordings([path])


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    for name in ("main_data.hdf5", "metadata.json"):
        secret, link = tmp_path / name, tmp_path / "set" / "data" / name
        secret.touch()
        link.symlink_to(secret)
        with pytest.raises(InputError, match=f"{name} is a link to somewhere else"):
            read_recordings([tmp_path / "set"])
        link.unlink()


def _damage(part: Path) -> None:
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])


def _link(part: Path) -> None:
    part.rename(part.parents[3] / "secret")
    part.symlink_to(part.parents[3] / "secret")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "3 has no .arrow file"),
        (_damage, "part-0.arrow is damaged and can't be read"),
        (_link, "part-0.arrow is a link to somewhere else"),
    ],
)
def test_bad_arrow_files_are_one_sentence(
    change: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = _dataset("Pendulum-v1", tmp_path, monkeypatch, "arrow")
    change(folder / "data" / "3" / "part-0.arrow")
    with pytest.raises(InputError) as raised:
        read_recordings([folder])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_id_does_not_leave_the_folder_of_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    (tmp_path / "other" / "data").mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    with pytest.raises(InputError, match="there is no file ../other, and no Minari dataset"):
        read_recordings(["../other"])
