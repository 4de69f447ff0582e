"""``--data``, tables: as ``imagine export`` writes them, and anybody's with ``--columns``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from imagine_cli import InputError, evaluate_model, fit_world_model, run_rollout
from imagine_cli.cli import main
from imagine_cli.transitions import csv_file
from imagine_cli.transitions.columns import find_columns, parse_columns
from imagine_cli.transitions.reader import read_recordings
from tests.helpers.real_transitions import check_same, record, transitions

MODELS = Path(__file__).parents[2] / "sample_models"
MAPPING = "observation=x,y,speed;action=u;episode=run;reward=r"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table() -> dict[str, np.ndarray]:
    """Own names, a row for each observation."""
    record(Path("real.h5"))
    found = transitions("real.h5")
    rows = np.concatenate([np.append(np.arange(k, k + 20), -k - 20) for k in range(0, 100, 20)])
    last = rows < 0
    step = np.where(last, -rows - 1, rows)
    observation = np.where(last[:, None], found.next_observations[step], found.observations[step])
    columns = dict(zip(("x", "y", "speed"), observation.T, strict=True))
    columns["u"] = np.where(last, np.nan, found.actions[step, 0])
    columns["r"] = np.where(last, np.nan, found.rewards[step])
    return {"note": np.full(len(rows), "a,b"), **columns, "run": found.episode[step] + 7}


def write_csv(columns: dict[str, np.ndarray], path: str = "own.csv") -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(each.tolist() for each in columns.values()), strict=True))


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
@pytest.mark.parametrize("to", ["csv", "parquet", "npz"])
def test_what_export_writes_is_read_without_a_word(to: str, env_id: str) -> None:
    record(Path("real.h5"), env_id)
    assert main(["export", "real.h5", "--to", to]) == 0
    check_same(transitions(f"rollout.{to}", env_id), transitions("real.h5", env_id))


def test_own_names_in_csv_and_parquet() -> None:
    columns = table()
    write_csv(columns)
    pyarrow.parquet.write_table(pyarrow.table(columns), "own.parquet")
    for path in ("own.csv", "own.parquet"):
        check_same(transitions(path, columns=MAPPING), transitions("real.h5"))
        with pytest.raises(InputError, match=f"{path} has no column that is known as observation"):
            transitions(path)
    fitted = fit_world_model("Pendulum-v1", data="own.csv", columns=MAPPING, kind="linear")
    assert f"--columns '{MAPPING}'" in fitted.metadata["command"]


def test_a_parquet_column_of_lists() -> None:
    record(Path("real.h5"))
    found = transitions("real.h5")
    columns = {
        "observation.state": found.observations.tolist(),
        "action": found.actions.tolist(),
        "next/observation": found.next_observations.tolist(),
        "episode_index": found.episode,
        "reward": found.rewards,
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), "lists.parquet")
    check_same(transitions("lists.parquet", columns="observation=observation.state"), found)


@pytest.mark.parametrize("names", [
    ("observations", "actions", "next_observations", "rewards", "terminals", "timeouts"),
    ("obs", "act", "next_obs", "rew", "terminated", "truncated"),
    ("obs", "act", None, "rew", "dones", None),
])  # fmt: skip
@pytest.mark.parametrize("ending", ["npz", "hdf5"])
def test_usual_names(ending: str, names: tuple[str | None, ...]) -> None:
    record(Path("real.h5"))
    found = transitions("real.h5")
    last = np.arange(100) % 20 == 19
    ends = (last, last) if names[-1] is None else (last & (found.episode == 2), last)
    numbers = (found.observations, found.actions, found.next_observations, found.rewards, *ends)
    arrays = {name: each for name, each in zip(names, numbers, strict=True) if name is not None}
    if ending == "npz":
        np.savez("data.npz", **arrays)
    else:
        with h5py.File("data.hdf5", "w") as file:
            file.create_group("metadata")
            for name, each in arrays.items():
                file.create_dataset(name, data=each, compression="gzip")
    # Without the next observation, the last step of an episode has none.
    expected = found if names[2] is not None else found[~last]
    check_same(transitions(f"data.{ending}"), expected)


def test_imagined_data_need_a_word() -> None:
    how = {"steps": 60, "trajectories": 2}
    run_rollout("Pendulum-v1", MODELS / "pendulum-linear.pt", output="r.h5", **how)  # type: ignore[arg-type]
    paths = ["r.h5"]
    for to, path in (
        ("csv", "r.csv"), ("parquet", "r.parquet"), ("npz", "r.npz"), ("minari", "r-v0"),
        ("torchrl", "r"),
    ):  # fmt: skip
        assert main(["export", "r.h5", "--to", to, "-o", path]) == 0
        paths.append(path)
    fits = {}
    for path in paths:
        with pytest.raises(InputError, match="is an imagined rollout.* or give --allow-imagined"):
            fit_world_model("Pendulum-v1", data=path, kind="linear")
        fitted = fit_world_model("Pendulum-v1", data=path, kind="linear", allow_imagined=True)
        assert "--allow-imagined" in fitted.metadata["command"]
        fits[path] = fitted.metadata["steps"]
    assert set(fits.values()) == {120}


def test_evaluate_takes_what_fit_takes(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(table())
    model = ["evaluate", "--model", str(MODELS / "pendulum-linear.pt"), "--json"]
    answers = []
    for real in (["real.h5"], ["own.csv", "--columns", MAPPING]):
        assert main([*model, "--real", *real]) == 0
        (scores,) = json.loads(capsys.readouterr().out)["models"]
        answers.append({name: each for name, each in scores.items() if name != "seconds"})
    assert answers[0] == answers[1]
    run_rollout("Pendulum-v1", MODELS / "pendulum-linear.pt", output="imagined.h5", steps=60)
    assert main(["export", "imagined.h5", "--to", "csv"]) == 0
    assert main([*model, "--real", "rollout.csv"]) == 2
    assert "rollout.csv is an imagined rollout, not a real one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        ("x,u\n1,2\n", "observation", "--columns has 'observation', which does not say"),
        ("x,u\n1,2\n", "state=x", "--columns has 'state=x', which does not say once of one of"),
        ("x,u\n1,2\n", "action=u;action=u", "does not say once"),
        ("x,u\n1,2\n", "observation=x,z;action=u", "has no column 'z' for --columns (it has x, u)"),
        ("x,u\n1,2\n", "observation=x;action=u", "has neither next observations nor a column"),
        ("x,u,episode\n1,2,0\n1,b\n", "observation=x;action=u", "line 3: 2 fields and 3 names"),
        ("x,u,episode\n1,2,0\n1,b,0\n", "observation=x;action=u", "line 3, u: 'b' is not a num"),
        ("x,u,episode\n1,2,0.5\n", "observation=x;action=u", "episode holds numbers that are not"),
        ("x,u,episode\n1,2,0\n", "observation=x;action=u", "holds no transitions"),
        ("x,x\n1,2\n", "observation=x;action=u", "has two columns of one name"),
        ("", "observation=x;action=u", "it has none"),
        ("\xff\xfe", "observation=x", "not CSV text"),
    ],
)
def test_bad_tables_are_one_sentence(content: str, columns: str, said: str) -> None:
    Path("bad.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as raised:
        read_recordings(["bad.csv"], columns)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_csv_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "_LIMIT", 10)
    Path("long.csv").write_text("x,u,episode\n1,2,3\n")
    with pytest.raises(InputError, match="MiB that are read; save it as .parquet or .npz"):
        read_recordings(["long.csv"])


def test_parquet_that_is_damaged_or_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow.parquet.write_table(
        pyarrow.table({"obs": np.zeros(40_000_000, np.int8), "act": np.zeros(40_000_000, np.int8)}),
        "huge.parquet",
    )
    with pytest.raises(InputError, match="huge.parquet unpacks to 640000000 bytes"):
        read_recordings(["huge.parquet"])
    content = bytearray(Path("huge.parquet").read_bytes())
    Path("cut.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cut.parquet is damaged and can't be read"):
        read_recordings(["cut.parquet"])
    words = {"obs": ["1", "2"], "act": [1.0, 2.0], "next_obs": [1.0, 2.0]}
    pyarrow.parquet.write_table(pyarrow.table(words), "words.parquet")
    with pytest.raises(InputError, match="obs in words.parquet holds string, not numbers"):
        read_recordings(["words.parquet"])
    ragged = {"obs": [[1.0], [1.0, 2.0]], "act": [1.0, 2.0], "next_obs": [1.0, 2.0]}
    pyarrow.parquet.write_table(pyarrow.table(ragged), "ragged.parquet")
    with pytest.raises(InputError, match="obs in ragged.parquet has lists that differ in length"):
        read_recordings(["ragged.parquet"])


def test_columns_without_data() -> None:
    with pytest.raises(InputError, match="--columns and --allow-imagined are about --data"):
        fit_world_model("Pendulum-v1", columns=MAPPING, kind="linear")
    with pytest.raises(InputError, match="--columns is about --real"):
        evaluate_model(MODELS / "pendulum-linear.pt", columns=MAPPING)
    record(Path("real.h5"))
    with pytest.raises(InputError, match="real.h5 says itself what is what; leave out --columns"):
        read_recordings(["real.h5"], MAPPING)


def test_the_columns_that_are_asked_for() -> None:
    assert parse_columns('observation="a,b", c; action=u=1') == {
        "observation": ["a,b", "c"], "action": ["u=1"]
    }  # fmt: skip
    names = ["x_0", "x_1", "x[0]", "u", "terminals", "timeouts"]
    found = find_columns(names, {"observation": ["x_*", "x[0]"], "action": ["u"]}, Path("t"))
    assert found == {
        "observation": ["x_0", "x_1", "x[0]"], "action": ["u"], "end": ["terminals", "timeouts"]
    }  # fmt: skip
