"""The command as a user runs it; in a process of its own where that is what is tested."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from imagine_cli import open_rollout, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import InputError
from tests.helpers.worlds import small_gp


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_world_model(small_gp(3, 1), "wm.pt", env=describe(make_env("Pendulum-v1")))
    return tmp_path


def imagine(*arguments: str, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagine_cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **kwargs,
    )


def until_a_shard(process: subprocess.Popen[str], partial: Path) -> None:
    while not any(partial.glob("shard-*.h5")):
        assert process.poll() is None
        time.sleep(0.02)


ROLLOUT = ["rollout", "--env", "Pendulum-v1", "--model", "wm.pt"]


def test_exactly_this_line_works(here: Path) -> None:
    done = imagine(*ROLLOUT, "--steps", "50", cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "rollout.h5\n"
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "imagining: 50 of 50" in done.stderr
    assert "look at it with: imagine inspect rollout.h5" in done.stderr
    with h5py.File(here / "rollout.h5") as file:
        assert file["observation/mean"].shape == (1, 51, 3)
        assert file.attrs["command"] == "imagine rollout --env Pendulum-v1 --model wm.pt --steps 50"
    assert sorted(p.name for p in here.iterdir()) == ["rollout.h5", "wm.pt"]


def test_on_a_terminal_there_is_a_live_display(here: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "-n", "3", "--steps", "100"],
        cwd=here,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(follower)
    screen = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:
            break
        if not block:
            break
        screen += block
    assert process.wait(60) == 0
    text = screen.decode()
    assert "\x1b[" in text
    for shown in ("imagining", "300/300", "/s", "3/3 trajectories", "sd ", "rollout.h5"):
        assert shown in text, shown


def test_json_quiet_and_the_exit_status(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ROLLOUT, "--steps", "3", "-n", "2", "--json", "-o", "a.h5", "-q"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert answer["path"] == "a.h5"
    assert (answer["steps"], answer["trajectories"]) == (3, 2)
    assert answer["start_sd"] == [0, 0, 0]
    with h5py.File("a.h5") as file:
        var = np.diagonal(file["observation/var"][:, -1], axis1=1, axis2=2)
    assert np.allclose(answer["end_sd"], np.sqrt(var.mean(0)), rtol=1e-12)


def test_the_same_seed_gives_the_same_data(here: Path) -> None:
    for name in ("a.h5", "b.h5"):
        assert main([*ROLLOUT, "--steps", "9", "-n", "3", "--seed", "4", "-q", "-o", name]) == 0
    with h5py.File("a.h5") as a, h5py.File("b.h5") as b:
        for key in ("observation/mean", "observation/var", "action/mean"):
            assert np.array_equal(a[key][()], b[key][()])


BAD: list[tuple[list[str], str]] = [
    (["--env", "Pendulun-v1"], "no env 'Pendulun-v1'"),
    (["--env", "CartPole-v1"], "is a model of Pendulum-v1, not of CartPole-v1"),
    (["--model", "nothing.pt"], "there is no world model nothing.pt"),
    (["--model", "."], "the world model . is a folder"),
    (["--model", "hdf.pt"], "is an HDF5 file"),
    (["--model", "text.pt"], "torch.save did not write it"),
    (["--model", "nan.pt"], "not finite"),
    (["--model", "cut.pt"], "cut short or damaged"),
    (["--model", "shapes.pt"], "don't fit together"),
    (["--model", "pickle.pt"], "--trust-pickle"),
    (["--steps", "0"], "--steps"),
    (["--steps", "-5"], "--steps"),
    (["--steps", "many"], "--steps"),
    (["-n", "0"], "--trajectories"),
    (["--seed", "-1"], "--seed"),
    (["--policy", "randm"], "no policy 'randm'"),
    (["--policy", "constant:9"], "constant:9"),
    (["--start", "mean=1,2"], "an observation of Pendulum-v1 is 3 numbers"),
    (["--dtype", "int8"], "--dtype 'int8'"),
    (["--device", "abacus"], "--device 'abacus'"),
    (["--env-kwarg", "g"], "is not KEY=VALUE"),
    (["--env-kwarg", "nonsense=1"], "can't be made"),
    (["-o", "there.h5"], "there.h5 exists; give --force"),
    (["-o", "."], "is a folder"),
    (["-o", "no/such/folder.h5"], "does not exist"),
    (["--colour"], "--colour"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(bad[0]) for bad in BAD])
def test_bad_input_gives_one_sentence_and_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    Path("there.h5").write_text("precious")
    Path("text.pt").write_text("hello")
    Path("hdf.pt").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    whole = Path("wm.pt").read_bytes()
    Path("cut.pt").write_bytes(whole[:1000])
    data = torch.load("wm.pt", weights_only=True)
    state = data["state_dict"]
    bad = {**state, "targets": torch.full_like(state["targets"], float("nan"))}
    torch.save({**data, "state_dict": bad}, "nan.pt")
    bad = {**state, "targets": state["targets"][1:].clone()}
    torch.save({**data, "state_dict": bad}, "shapes.pt")
    torch.save(torch.nn.Linear(1, 1), "pickle.pt")
    before = sorted(os.listdir())
    assert main([*ROLLOUT, *arguments]) == 2
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("imagine: error:")]
    assert len(errors) == 1, err
    assert sentence in errors[0]
    assert "Traceback" not in err
    assert out == ""
    assert sorted(os.listdir()) == before
    assert Path("there.h5").read_text() == "precious"


@pytest.mark.long
def test_compiled_it_is_the_same_to_rounding_and_runs_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*ROLLOUT, "--steps", "5", "-n", "3"]
    for more in (["-o", "plain.h5"], ["-o", "compiled.h5", "--compile"]):
        assert main([*line, *more]) == 0
    with h5py.File(here / "plain.h5") as plain, h5py.File(here / "compiled.h5") as compiled:
        for name in ("mean", "var"):
            wanted, found = (file["observation"][name][:] for file in (plain, compiled))
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        assert not json.loads(plain.attrs["arguments"]).get("compiled")
        assert json.loads(compiled.attrs["arguments"])["compiled"] is True
    capsys.readouterr()
    assert main(["rerun", "compiled.h5"]) == 0
    assert "same numbers" in capsys.readouterr().out


def test_without_numba_compile_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        assert main(["rollout", "--env", "Pendulum-v1", "--model", "wm.pt", "--compile"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(
        "imagine: error: numba is not installed; run: pip install 'imagine-cli[compile]'\n"
    )
    assert not (here / "rollout.h5").exists()


def test_force_overwrites_and_debug_shows_the_traceback(here: Path) -> None:
    (here / "r.h5").write_text("old")
    assert main([*ROLLOUT, "--steps", "2", "-o", "r.h5", "--force"]) == 0
    assert (here / "r.h5").read_bytes().startswith(b"\x89HDF")
    with pytest.raises(InputError, match="no policy 'randm'"):
        main([*ROLLOUT, "--policy", "randm", "--debug", "--force"])


def test_a_file_size_limit_is_a_sentence_and_leaves_nothing(here: Path) -> None:
    script = (
        f"ulimit -f 40; exec {sys.executable} -m imagine_cli rollout --env Pendulum-v1 "
        "--model wm.pt --steps 3000 -n 2 -q"
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=here, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in here.iterdir()) == ["wm.pt"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*ROLLOUT, "-o", "wm.pt"],
        [*ROLLOUT, "--video", "wm.pt"],
        ["fit", "--data", "wm.pt", "-o", "wm.pt"],
        ["evaluate", "--env", "Pendulum-v1", "--model", "wm.pt", "--record", "wm.pt"],
        ["convert", "wm.pt", "-o", "./wm.pt", "--env", "Pendulum-v1"],
        ["plot", "wm.pt", "-o", "wm.pt"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_read_is_not_overwritten_by_force(
    here: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (here / "wm.pt").read_bytes()
    assert main([*arguments, "--force"]) == 2
    assert "wm.pt is read by this command; name another output" in capsys.readouterr().err
    assert (here / "wm.pt").read_bytes() == before


def test_a_signal_in_the_last_steps_stops_what_would_come_after_them(here: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "--steps", "7000", "--video", "v.gif"],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("imagining"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) == 130
    assert "imagine: rollout.h5 was finished all the same" in rest
    with h5py.File(here / "rollout.h5") as file:
        assert file.attrs["complete"]
    assert sorted(path.name for path in here.iterdir()) == ["rollout.h5", "wm.pt"]


def test_what_was_done_is_kept_although_nobody_reads_what_is_said(here: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "-n", "64", "--steps", "1000000"],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("imagining"):
            break
    process.stderr.close()
    until_a_shard(process, here / "rollout.h5.partial")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert (here / "rollout.h5.partial").exists()


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_stops_it_where_it_can_go_on_later(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    """While it is still being written, it can be looked at."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagine_cli", *ROLLOUT, "-n", "64", "--steps", "1000000"],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("imagining"):
            break
    until_a_shard(process, here / "rollout.h5.partial")
    assert main(["inspect", "rollout.h5.partial", "--trajectory", "0", "--step", "7"]) == 0
    assert "incomplete" in "".join(capsys.readouterr())
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(60) == status
    assert f"imagine: error: {word}\n" in rest
    assert "finishing the steps in progress; once more stops at once" in rest
    again = "imagine rollout --env Pendulum-v1 --model wm.pt -n 64 --steps 1000000 --resume"
    assert f"what was done is in rollout.h5.partial; go on with: {again}\n" in rest
    assert "Traceback" not in rest
    assert sorted(p.name for p in here.iterdir()) == ["rollout.h5.partial", "wm.pt"]
    with open_rollout(here / "rollout.h5.partial") as rollout:
        assert not rollout.complete
        assert np.isfinite(rollout.mean(0, slice(0, 8))).all()


def test_help_has_an_example_and_every_option_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rollout", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "imagine rollout --env Pendulum-v1 --model wm.pt --steps 50" in text
    for option in ("--env", "--model", "--steps", "--trajectories", "--policy", "--start"):
        assert option in text
    assert "[default: rollout.h5]" in text
