"""Frames: on the left the env set to what was imagined, on the right the real run."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import EnvDescription, reset_seed
from imagine_cli.errors import ImagineError, InputError, MissingExtraError
from imagine_cli.video.states import Setter

if TYPE_CHECKING:
    from imagine_cli.recording import Rollout

MUJOCO_HINT = "MuJoCo draws with MUJOCO_GL=egl, osmesa or glfw"
_HEAD, _GAP = 24, 4


def prepare() -> None:
    """Have the libraries that draw say nothing on stdout and do without a screen."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform == "linux" and not screen:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        # MuJoCo's default needs a screen, and without one ends the process.
        os.environ.setdefault("MUJOCO_GL", "egl")


def frames(
    rollout: Rollout,
    trajectory: int,
    every: int,
    imagined: Any,
    real: Any,
    setter: Setter,
    about: EnvDescription,
) -> Iterator[np.ndarray]:
    """``(H, W, 3)`` uint8, of each ``every``-th step from the start on.

    The real run is the same reset with the same actions; where the rollout starts elsewhere, it
    starts at the imagined mean. Once it has ended its last picture stays.

    Raises:
        ImagineError: an env that can't be drawn.
    """
    means = rollout.mean(trajectory).astype(np.float64)
    actions = rollout.action_mean(trajectory).astype(np.float64)
    seed = reset_seed(rollout.seed or 0, trajectory)
    imagined.reset(seed=seed)
    at = np.asarray(real.reset(seed=seed)[0], dtype=np.float64)
    if not np.allclose(at, means[0], rtol=1e-5, atol=1e-6):
        setter(real.unwrapped, means[0], None)
    ended: int | None = None
    right = _drawn(real)
    for step, mean in enumerate(means):
        action = actions[step - 1] if step else None
        if action is not None and ended is None:
            done = real.step(about.decode_action(action))[2]
            ended = step if done else None
        if step % every:
            continue
        if not np.isfinite(mean).all():
            why = f"the mean is not finite at step {step}; the video ends before it"
            warnings.warn(why, stacklevel=2)
            return
        setter(imagined.unwrapped, mean, action)
        left = _drawn(imagined)
        if ended is None or ended > step - every:
            right = _drawn(real)
        end = "" if ended is None else f", ended at step {ended}"
        yield side_by_side(left, right, [f"imagined mean, step {step}", f"real run{end}"])


def side_by_side(left: np.ndarray, right: np.ndarray, titles: list[str]) -> np.ndarray:
    """Two pictures with a title over each, white between them, both sides even."""
    from pygame import font, surfarray

    font.init()
    height = max(len(left), len(right)) + _HEAD
    width = left.shape[1] + _GAP + right.shape[1]
    canvas = np.full((height + height % 2, width + width % 2, 3), 255, dtype=np.uint8)
    canvas[_HEAD : _HEAD + len(left), : left.shape[1]] = left
    canvas[_HEAD : _HEAD + len(right), left.shape[1] + _GAP : width] = right
    for title, x in zip(titles, (6, left.shape[1] + _GAP + 6), strict=True):
        letters = font.Font(None, 20).render(title, True, "black", "white")
        pixels = surfarray.array3d(letters).swapaxes(0, 1)[: _HEAD - 5, : width - x]
        canvas[5 : 5 + len(pixels), x : x + pixels.shape[1]] = pixels
    return canvas


def _drawn(env: Any) -> np.ndarray:
    from gymnasium.error import DependencyNotInstalled

    try:
        picture = env.render()
    except DependencyNotInstalled as error:
        what = "pygame" if "pygame" in str(error) else "a library that draws the env"
        raise MissingExtraError(what, "video") from error
    except Exception as error:  # a renderer may raise anything at all
        hint = f"; {MUJOCO_HINT}" if hasattr(env.unwrapped, "model") else ""
        said = " ".join(str(error).split()).rstrip(".")
        raise ImagineError(
            f"the env can't be drawn here: {type(error).__name__}: {said}{hint}"
        ) from error
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
        raise InputError("the env's render_mode rgb_array gives no (H, W, 3) picture of bytes")
    return picture
