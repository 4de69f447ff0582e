"""Videos of rollouts, by the call and by the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from imagine_cli import ImagineError, InputError, evaluate_model, render_video, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from tests.helpers.rollout_files import numbers, write, write_plainly
from tests.helpers.worlds import small_gp

CART = {"env_id": "CartPole-v1", "env_kwargs": {}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs of CartPole, and a rollout of Pendulum."""
    folder = tmp_path_factory.mktemp("files")
    evaluate_model(
        small_gp(4, 2), "CartPole-v1", steps=8, trajectories=3, record=folder / "cart.h5"
    )
    save_world_model(small_gp(3, 1), folder / "wm.pt", env=describe(make_env("Pendulum-v1")))
    words = ["rollout", "--env", "Pendulum-v1", "--model", str(folder / "wm.pt")]
    assert main([*words, "--steps", "6", "-n", "2", "-q", "-o", str(folder / "r.h5")]) == 0
    return folder


def pictures(path: Path) -> list[np.ndarray]:
    read = Image.open(path)
    found = []
    for k in range(getattr(read, "n_frames", 1)):
        read.seek(k)
        found.append(np.asarray(read.convert("RGB")).astype(int))
    return found


def halves(picture: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    return picture[24:, :width], picture[24:, width + 4 : 2 * width + 4]


def test_a_real_run_in_the_imagined_ones_place_looks_the_same(files: Path, tmp_path: Path) -> None:
    """The left is drawn from the file's means alone, the right by stepping the env."""
    render_video(files / "cart.h5", tmp_path / "a.gif", trajectory=1)
    found = pictures(tmp_path / "a.gif")
    assert len(found) == 9
    for picture in found:
        left, right = halves(picture, 600)
        assert (left == right).all()
        assert (left < 250).mean() > 0.001
    moved = [np.abs(a - b).max() for a, b in pairwise(found)]
    assert min(moved) > 100


def test_an_imagined_run_is_not_the_real_one(files: Path, tmp_path: Path) -> None:
    assert render_video(files / "r.h5", tmp_path / "a.gif") == tmp_path / "a.gif"
    found = pictures(tmp_path / "a.gif")
    assert len(found) == 7
    left, right = halves(found[0], 500)
    assert (left == right).all()  # both at the same reset
    left, right = halves(found[-1], 500)
    assert (left != right).any()
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_the_same_frames_every_time(files: Path, tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        render_video(files / "r.h5", tmp_path / name, trajectory=1)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_run_that_ends_stays_as_it_ended(tmp_path: Path) -> None:
    arrays = numbers(1, 6, 4, f=2)
    arrays["observation/mean"][:] = 0.01
    arrays["observation/mean"][0, 0] = [2.3, 3.0, 0.0, 0.0]  # off the track in two steps
    arrays["action/mean"][:] = [0.0, 1.0]
    write(tmp_path / "a.h5", arrays, header=CART)
    render_video(tmp_path / "a.h5", tmp_path / "a.gif")
    found = pictures(tmp_path / "a.gif")
    assert len(found) == 7
    rights = [halves(picture, 600)[1] for picture in found]
    assert np.abs(rights[0] - rights[1]).max() > 100
    # Each frame has colours of its own, chosen with the other half's.
    assert max(np.abs(right - rights[2]).max() for right in rights[3:]) <= 8


def command(capsys: Any, *words: Any) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command_writes_both_files_and_says_only_the_rollouts_path(
    files: Path, tmp_path: Path
) -> None:
    words = ["rollout", "--env", "Pendulum-v1", "--model", str(files / "wm.pt"), "--steps", "5"]
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "PYGAME_HIDE_SUPPORT_PROMPT", "SDL_VIDEODRIVER")
    done = subprocess.run(
        [sys.executable, "-m", "imagine_cli", *words, "--video", "v.mp4"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={key: value for key, value in os.environ.items() if key not in gone},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "rollout.h5\n"
    assert "drawing: 6 of 6" in done.stderr
    assert "error" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rollout.h5", "v.mp4"]


def test_plot_makes_a_video_of_a_file_that_is_there(
    files: Path, tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "b.gif"
    words = ("plot", files / "r.h5", "-o", target, "--trajectory", 1, "-q")
    assert command(capsys, *words) == (0, f"{target}\n", "")
    render_video(files / "r.h5", tmp_path / "c.gif", trajectory=1)
    assert target.read_bytes() == (tmp_path / "c.gif").read_bytes()
    status, _, said = command(capsys, *words)
    assert status == 2
    assert "exists; give --force" in said
    status, _, said = command(capsys, *words[:3], tmp_path / "d.gif", "--dimension", "0")
    assert status == 2
    assert "--dimension says nothing about a video" in said
    assert command(capsys, *words[:3], tmp_path / "d.gif", "--trajectory", 7)[0] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--video", "v.avi"), "the video v.avi must end in .gif or .mp4"),
        (("--video", "no/v.gif"), "the output folder no does not exist"),
        (("--video", "there.gif"), "there.gif exists; give --force"),
        (("--env", "Pusher-v5", "--video", "v.gif"), "a video of Pusher-v5 can't be made"),
    ],
)
def test_what_can_not_become_a_video_stops_before_anything_is_imagined(
    files: Path, tmp_path: Path, capsys: Any, monkeypatch: Any, words: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.gif").write_text("precious")
    given = ("rollout", "--env", "Pendulum-v1", "--model", files / "wm.pt", *words)
    status, out, said = command(capsys, *given)
    assert (status, out) == (2, "")
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["there.gif"]


def test_a_renderer_that_fails_is_a_sentence_and_leaves_the_rollout(
    files: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from gymnasium.envs.classic_control.pendulum import PendulumEnv

    def fail(self: Any) -> None:
        raise RuntimeError("no screen\nanywhere")

    monkeypatch.setattr(PendulumEnv, "render", fail)
    monkeypatch.chdir(tmp_path)
    words = ("rollout", "--env", "Pendulum-v1", "--model", files / "wm.pt", "--video", "v.gif")
    status, _, said = command(capsys, *words)
    assert status == 1
    assert "imagine: error: the env can't be drawn here: RuntimeError: no screen anywhere" in said
    assert [path.name for path in tmp_path.iterdir()] == ["rollout.h5"]
    with pytest.raises(ImagineError, match="can't be drawn here"):
        render_video("rollout.h5", "w.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["rollout.h5"]


@pytest.mark.parametrize(("library", "name"), [("pygame", "v.gif"), ("imageio_ffmpeg", "v.mp4")])
def test_without_the_extra_one_sentence(
    files: Path, tmp_path: Path, monkeypatch: Any, library: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=r"pip install 'imagine-cli\[video\]'"):
        render_video(files / "r.h5", tmp_path / name)


def test_a_file_that_says_too_little(tmp_path: Path) -> None:
    arrays = numbers(1, 3, 3)
    write_plainly(tmp_path / "a.h5", arrays)
    with pytest.raises(InputError, match="does not say of which env"):
        render_video(tmp_path / "a.h5", tmp_path / "a.gif")
    del arrays["action/mean"], arrays["action/var"]
    write_plainly(tmp_path / "b.h5", arrays, env_id="Pendulum-v1")
    with pytest.raises(InputError, match="has no actions"):
        render_video(tmp_path / "b.h5", tmp_path / "a.gif")
    write(tmp_path / "c.h5", numbers(1, 3, 2), header=CART)
    with pytest.raises(InputError, match="observations or actions that CartPole-v1 has not"):
        render_video(tmp_path / "c.h5", tmp_path / "a.gif")


def test_a_file_cannot_have_a_module_imported(files: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "evil.h5"
    shutil.copy(files / "r.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["env_id"] = "antigravity:Pendulum-v1"
    status, _, said = command(capsys, "plot", path, "-o", tmp_path / "a.gif")
    assert status == 2
    assert "evil.h5 names a module to import, 'antigravity:Pendulum-v1'; if that may run, " in said
    assert "antigravity" not in sys.modules
    words = ("--env", "Pendulum-v1", "-o", tmp_path / "a.gif", "-q")
    assert command(capsys, "plot", path, *words)[0] == 0
    status, _, said = command(
        capsys, "plot", path, "--env", "Pendulum-v1", "-o", tmp_path / "a.png"
    )
    assert status == 2
    assert "--env says nothing about a fan chart" in said


def test_a_seed_that_is_none(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    shutil.copy(files / "r.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["seed"] = -1
    render_video(path, tmp_path / "a.gif")
    assert len(pictures(tmp_path / "a.gif")) == 7


def test_the_mean_stops_being_finite_and_so_does_the_video(tmp_path: Path) -> None:
    arrays = numbers(1, 6, 4, f=2)
    arrays["observation/mean"][0, 4:] = np.nan
    write(tmp_path / "a.h5", arrays, header=CART)
    with pytest.warns(UserWarning, match="not finite at step 4"):
        render_video(tmp_path / "a.h5", tmp_path / "a.gif")
    assert len(pictures(tmp_path / "a.gif")) == 4


MUJOCO = """
import json, sys
import gymnasium, numpy as np
from imagine_cli.video.frames import prepare
prepare()
env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array")
env.reset(seed=0)
json.dump(env.render().shape, sys.stdout)
"""


def test_a_mujoco_env_where_there_is_anything_to_draw_with(tmp_path: Path) -> None:
    """A renderer that is missing may end its process, so one of its own finds out."""
    tried = subprocess.run(
        [sys.executable, "-c", MUJOCO], capture_output=True, text=True, timeout=120, check=False
    )
    if tried.returncode:
        pytest.skip("MuJoCo can't draw here")
    assert json.loads(tried.stdout.splitlines()[-1])[2] == 3
    evaluate_model(
        small_gp(4, 1), "InvertedPendulum-v5", steps=2, trajectories=1, record=tmp_path / "r.h5"
    )
    script = f"import imagine_cli; imagine_cli.render_video({str(tmp_path / 'r.h5')!r}, 'a.gif')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for picture in pictures(tmp_path / "a.gif"):
        left, right = halves(picture, 480)
        # A float64 state through its observation: equal but for a pixel on an edge.
        assert (np.abs(left - right).max(-1) > 8).mean() < 1e-3
        assert left.max() > 60
