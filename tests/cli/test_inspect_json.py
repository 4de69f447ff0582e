from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_cli.cli import main
from tests.helpers.inspect_files import linear_gaussian, save


def document(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> Any:
    capsys.readouterr()
    assert main(["inspect", str(path), "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(out, parse_constant=refuse)


def test_its_structure_is_the_documented_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = linear_gaussian(3, 60)
    path = save(tmp_path / "r.h5", numbers)
    found = document(capsys, path)
    assert list(found) == [
        *("kind", "file", "bytes", "format_version", "complete", "provenance", "shape"),
        *("trajectory", "observation", "reward", "return", "length", "alike", "warnings"),
    ]
    assert found["kind"] == "rollout"
    assert found["file"] == str(path)
    assert found["bytes"] == path.stat().st_size
    assert found["complete"] is True
    assert found["provenance"]["env_kwargs"] == {"g": 9.81}
    assert found["provenance"]["seed"] == 7
    assert found["provenance"]["extra"] == {"start": "reset"}
    assert set(found["provenance"]["versions"]) >= {"imagine", "h5py"}
    assert found["shape"] == {
        "trajectories": 3,
        "steps": 60,
        "observation_size": 2,
        "action_size": 1,
        "particles": None,
        "dtype": "float64",
        "datasets": {
            "observation/mean": [3, 61, 2],
            "observation/var": [3, 61, 2, 2],
            "action/mean": [3, 60, 1],
            "reward/mean": [3, 60],
            "reward/var": [3, 60],
        },
    }
    assert found["trajectory"] is None
    assert found["warnings"] == []
    angle, angle_dot = found["observation"]
    assert (angle["name"], angle["low"], angle["high"]) == ("angle", -2.0, 2.0)
    assert (angle_dot["low"], angle_dot["high"]) == (None, None)
    sd = np.sqrt(np.diagonal(numbers.var.mean(0), axis1=-2, axis2=-1))
    for d, dimension in enumerate(found["observation"]):
        assert [point["step"] for point in dimension["at"]] == [0, 15, 30, 45, 60]
        for point in dimension["at"]:
            expected = numbers.mean[:, point["step"], d].mean()
            assert point["mean"] == pytest.approx(expected, rel=1e-12, abs=1e-15)
            assert point["sd"] == pytest.approx(sd[point["step"], d], rel=1e-12)
        course = dimension["course"]
        assert len(course) == 40
        assert course[0]["first_step"] == 0
        assert course[-1]["last_step"] == 60
        for before, after in itertools.pairwise(course):
            assert after["first_step"] == before["last_step"] + 1
        for part in course:
            steps = slice(part["first_step"], part["last_step"] + 1)
            expected = numbers.mean[:, steps, d].mean()
            assert part["mean"] == pytest.approx(expected, rel=1e-12, abs=1e-15)
            expected = np.sqrt((sd[steps, d] ** 2).mean())
            assert part["sd"] == pytest.approx(expected, rel=1e-12)
    assert found["reward"]["at"][0] == {
        "step": 0,
        "mean": pytest.approx(numbers.reward[:, 0].mean(), rel=1e-12),
        "sd": 0.5,
    }


def test_a_step_of_a_trajectory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = linear_gaussian(3, 20)
    path = save(tmp_path / "r.h5", numbers)
    found = document(capsys, path, "--step", "20", "--trajectory", "2")
    step = found["step"]
    assert found["trajectory"] == 2
    assert step["step"] == 20
    assert (step["action"], step["reward"]) == (None, None)
    np.testing.assert_array_equal(step["mean"], numbers.mean[2, 20])
    np.testing.assert_array_equal(step["covariance"], numbers.var[2, 20])
    sd = np.sqrt(np.diagonal(numbers.var[2, 20]))
    np.testing.assert_allclose(step["sd"], sd, rtol=1e-15)
    np.testing.assert_allclose(
        step["correlation"], numbers.var[2, 20] / np.outer(sd, sd), rtol=1e-14
    )
    averaged = document(capsys, path, "--step", "7")["step"]
    np.testing.assert_allclose(averaged["mean"], numbers.mean[:, 7].mean(0), rtol=1e-14)
    np.testing.assert_allclose(averaged["covariance"], numbers.var[:, 7].mean(0), rtol=1e-14)
    assert averaged["action"]["names"] == ["torque"]
    assert averaged["action"]["sd"] is None
    np.testing.assert_allclose(averaged["action"]["mean"], numbers.action[:, 7].mean(0), rtol=1e-13)
    assert averaged["reward"]["sd"] == pytest.approx(0.5, rel=1e-15)


def test_what_is_not_finite_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = linear_gaussian(1, 4)
    numbers.mean[0, 4, 0] = np.nan
    numbers.var[0, 4, 1, 1] = np.inf
    path = save(tmp_path / "r.h5", numbers)
    found = document(capsys, path, "--step", "0")
    last = [dimension["at"][-1] for dimension in found["observation"]]
    assert last[0]["mean"] is None
    assert last[1]["sd"] is None
    assert found["step"]["correlation"] == [[None, None], [None, None]]  # of a certain start
    kinds = [warning["kind"] for warning in found["warnings"]]
    assert kinds == ["not-finite", "not-finite"]
    assert "trajectory 0, step 4" in found["warnings"][0]["message"]


def test_it_goes_through_json_tool(tmp_path: Path) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(1, 4), observation_names=["θ", 'a"b\\'])
    done = subprocess.run(
        f"{sys.executable} -m imagine_cli inspect {path} --json | {sys.executable} -m json.tool",
        shell=True,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [d["name"] for d in json.loads(done.stdout)["observation"]] == ["θ", 'a"b\\']
