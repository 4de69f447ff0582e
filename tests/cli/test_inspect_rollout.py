from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagine_cli.cli import main
from tests.helpers.inspect_files import linear_gaussian, save

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``imagine`` in a process of its own, in a pipe, with the environment of a bare one."""
    return subprocess.run(
        [sys.executable, "-m", "imagine_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **environment},
    )


def test_the_table_shows_the_numbers_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    numbers = linear_gaussian(4, 40)
    path = save(tmp_path / "r.h5", numbers)
    assert main(["inspect", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.rstrip() for line in out.splitlines()]
    text = "\n".join(lines)
    for fact in (
        r"shape +4 trajectories × 40 steps, 2 observations, 1 action, float64",
        r"env +Swing-v0 g=9\.81",
        r"model +wm\.pt \(linear-gaussian\) sha256 0123456789ab",
        r"policy +random",
        r"propagation +moment-matching",
        r"seed +7",
        r"start +reset",
        r"command +imagine rollout --env Swing-v0 --model wm\.pt",
        r"Over the 4 trajectories: mean of the means, ± root mean square of the standard dev",
    ):
        assert re.search(fact, text), fact
    table = lines[lines.index("") + 2 :]
    assert table[0].split() == ["step", "0", "10", "20", "30", "40"]
    steps = [0, 10, 20, 30, 40]
    mean = numbers.mean.mean(0)[steps]
    sd = np.sqrt(np.diagonal(numbers.var.mean(0), axis1=-2, axis2=-1))[steps]
    for d, name in enumerate(["angle", "angle_dot"]):
        means, sds = table[1 + 2 * d].split(), table[2 + 2 * d].split()
        assert means[:2] == [name, "mean"]
        assert sds[0] == "±"
        np.testing.assert_allclose([float(x) for x in means[2:7]], mean[:, d], atol=5.1e-5)
        np.testing.assert_allclose([float(x) for x in sds[1:6]], sd[:, d], rtol=5.1e-3)
        for sparkline in (means[7], sds[6]):
            assert set(sparkline) <= set("▁▂▃▄▅▆▇█")
            assert 30 <= len(sparkline) <= 48
        assert sds[6] == "".join(sorted(sds[6]))  # the uncertainty grows
    assert table[5].split() == ["step", "0", "10", "20", "29", "39"]
    reward = table[6].split()
    assert reward[:2] == ["reward", "mean"]
    expected = numbers.reward.mean(0)[[0, 10, 20, 29, 39]]
    np.testing.assert_allclose([float(x) for x in reward[2:7]], expected, atol=5.1e-5)
    assert table[7].split()[1:6] == ["0.500"] * 5


def test_one_trajectory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = linear_gaussian(4, 40)
    path = save(tmp_path / "r.h5", numbers, reward=False)
    assert main(["inspect", str(path), "--trajectory", "2"]) == 0
    out = capsys.readouterr().out
    assert "In trajectory 2 of 4 (counted from 0): mean and ± standard deviation" in out
    (row,) = (line.split() for line in out.splitlines() if line.startswith("angle "))
    np.testing.assert_allclose(
        [float(x) for x in row[2:7]], numbers.mean[2, [0, 10, 20, 30, 40], 0], atol=5.1e-4
    )
    assert "reward" not in out


def test_one_step_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = linear_gaussian(3, 20)
    path = save(tmp_path / "r.h5", numbers)
    assert main(["inspect", str(path), "--step", "15", "--trajectory", "1"]) == 0
    out = capsys.readouterr().out
    assert "Step 15 of 20, in trajectory 1 of 3" in out
    rows = [line.split() for line in out.splitlines()]
    mean, var = numbers.mean[1, 15], numbers.var[1, 15]
    angle = [row for row in rows if row[:1] == ["angle"]]
    assert angle[0][3:] == ["[-2,", "2]"]
    values = [float(x) for x in angle[0][1:3]]
    np.testing.assert_allclose(values, [mean[0], var[0, 0] ** 0.5], rtol=5.1e-3)
    np.testing.assert_allclose([float(x) for x in angle[1][1:]], var[0], rtol=5.1e-3)
    correlation = var[0, 1] / np.sqrt(var[0, 0] * var[1, 1])
    np.testing.assert_allclose([float(x) for x in angle[2][1:]], [1.0, correlation], atol=5.1e-4)
    (torque,) = (row for row in rows if row[:2] == ["action", "torque"])
    np.testing.assert_allclose(float(torque[2]), numbers.action[1, 15, 0], rtol=5.1e-5)
    (reward,) = (row for row in rows if row[:1] == ["reward"])
    assert float(reward[1]) == pytest.approx(numbers.reward[1, 15], rel=5.1e-5)
    assert reward[2] == "0.500"


def test_the_start_is_certain_and_the_end_has_no_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(3, 20))
    assert main(["inspect", str(path), "--step", "0"]) == 0
    assert "No uncertainty: the covariance is zero at step 0." in capsys.readouterr().out
    assert main(["inspect", str(path), "--step", "20"]) == 0
    out = capsys.readouterr().out
    assert "torque" not in out
    assert "reward" not in out


def test_many_dimensions_show_the_strongest_correlations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = linear_gaussian(1, 3)
    size = 30
    rng = np.random.default_rng(0)
    root = rng.normal(size=(1, 4, size, size))
    var = root @ root.swapaxes(-1, -2)
    wide = numbers._replace(mean=rng.normal(size=(1, 4, size)), var=var)
    names = [f"joint{i}" for i in range(size)]
    bounds = {"observation_low": [-np.inf] * size, "observation_high": [np.inf] * size}
    path = save(tmp_path / "r.h5", wide, observation_names=names, **bounds)
    assert main(["inspect", str(path), "--step", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() == "correlation") + 1
    sd = np.sqrt(np.diagonal(var[0, 2]))
    correlation = np.triu(var[0, 2] / np.outer(sd, sd), 1)
    i, j = np.unravel_index(np.argmax(np.abs(correlation)), correlation.shape)
    assert lines[first].split() == [f"joint{i}", f"joint{j}", f"{correlation[i, j]:.3f}"]
    assert len(lines) == first + 10


def test_warnings_go_to_stderr(tmp_path: Path) -> None:
    numbers = linear_gaussian(2, 20)
    numbers.mean[1, 5, 0] = 2.5
    numbers.var[0, 7, 0, 1] = np.nan
    path = save(tmp_path / "r.h5", numbers)
    done = run("inspect", path)
    assert done.returncode == 0
    assert "imagine: warning" not in done.stdout
    assert done.stderr.splitlines() == [
        "imagine: warning: observation/var has 1 number that is not finite, at trajectory 0, "
        "step 7",
        "imagine: warning: the mean of angle is outside the observation space [-2, 2] at 1 of 42 "
        "steps, by up to 0.5, first at trajectory 1, step 5",
    ]


def test_only_so_many_warnings_are_printed(tmp_path: Path) -> None:
    size = 40
    numbers = linear_gaussian(1, 3)._replace(
        mean=np.full((1, 4, size), 2.0), var=np.zeros((1, 4, size, size))
    )
    names = [f"o{i}" for i in range(size)]
    path = save(
        tmp_path / "r.h5",
        numbers,
        observation_names=names,
        observation_low=[-1.0] * size,
        observation_high=[1.0] * size,
    )
    lines = run("inspect", path).stderr.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "imagine: warning: and 30 more; --json has them all"


def test_a_pipe_gets_no_colour_and_a_terminal_may_refuse_it(tmp_path: Path) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(2, 20))
    assert "\x1b" not in run("inspect", path).stdout
    forced = run("inspect", path, FORCE_COLOR="1", COLUMNS="100").stdout
    assert "\x1b[" in forced
    assert ANSI.sub("", forced) == run("inspect", path, COLUMNS="100").stdout


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, columns: int) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(2, 20))
    lines = run("inspect", path, COLUMNS=str(columns)).stdout.splitlines()
    assert max(len(line) for line in lines) <= columns
    assert any("█" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(2, 20), observation_names=["θ", "x"])
    done = subprocess.run(
        [sys.executable, "-m", "imagine_cli", "inspect", str(path)],
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    assert "2 trajectories x 20 steps" in text
    assert "+/-" in text
    assert "\\u03b8" in text
    assert "@" in text


def test_names_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["\x1b[31mred", "[bold]not markup[/bold]"]
    path = save(tmp_path / "r.h5", linear_gaussian(2, 20), observation_names=names, policy="a\rb")
    for arguments in ([], ["--step", "3"], ["--csv"], ["--json"]):
        assert main(["inspect", str(path), *arguments]) == 0
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\r" not in out
        assert "[bold]not" in out


def test_a_reader_that_goes_away_is_a_sentence(tmp_path: Path) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(20, 200))
    command = f"{sys.executable} -m imagine_cli inspect {path}"
    for options in ("", "--csv", "--json"):
        done = subprocess.run(
            f"{command} {options} | head -n 1", shell=True, capture_output=True, text=True
        )
        assert done.stderr in (
            "",  # where all of it was written before
            "imagine: stdout was closed; the rest of the answer was not written\n",
        )
        assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("option", ["", "--json", "--csv"])
def test_torch_is_not_imported(tmp_path: Path, option: str) -> None:
    path = save(tmp_path / "r.h5", linear_gaussian(2, 5))
    program = (
        "import sys\nfrom imagine_cli.cli import main\n"
        f"status = main({['inspect', str(path), *option.split()]!r})\n"
        "heavy = {'torch', 'torchrl', 'tensordict', 'gymnasium', 'matplotlib', 'gpytorch'}\n"
        "print(status, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "0 []\n"


def test_a_file_by_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import h5py

    numbers = linear_gaussian(1, 5)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file.attrs["format"] = "imagine-rollout"
        file["observation/mean"] = numbers.mean.astype("f4")
        file["observation/var"] = numbers.var.astype("f4")
    assert main(["inspect", str(tmp_path / "r.h5")]) == 0
    out, err = capsys.readouterr()
    assert "1 trajectory × 5 steps, 2 observations, no actions, float32" in out
    assert "complete or not: it does not say" in out
    assert out.count("not said") == 8
    assert err == "imagine: warning: the file has no dataset action/mean\n"
