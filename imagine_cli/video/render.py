"""A video of a rollout, as one call."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imagine_cli.environments import describe, env_named, kwargs_named, make_env
from imagine_cli.errors import InputError, require
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.inspection.checks import check_there
from imagine_cli.progress import Progress, Silent
from imagine_cli.recording import open_rollout
from imagine_cli.video.ffmpeg import writing
from imagine_cli.video.frames import MUJOCO_HINT, frames, prepare
from imagine_cli.video.states import setter_for

FORMATS = (".gif", ".mp4")
_FASTEST = {".gif": 50.0, ".mp4": 60.0}
_FPS = 30.0


def render_video(
    rollout: str | Path,
    output: str | Path,
    *,
    trajectory: int = 0,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Draw the real env set to the imagined means, beside the real run of the same actions.

    One frame a step at the env's own speed; where that is more than 50 (.gif) or 60 (.mp4) frames
    a second, every second or third step. Frames are written as they are drawn. Without a screen
    the environment variables SDL_VIDEODRIVER and MUJOCO_GL are set where they are not, to draw
    without one.

    Args:
        rollout: a rollout file.
        output: a .gif or .mp4 file; it appears when it is complete.
        trajectory: which one.
        env_id: the env, where the file's ``env_id`` needs a ``module:`` before it: what a file
            says is no reason to run code.
        env_kwargs: arguments for the env beside the file's; those that are paths must be given.
        overwrite: replace a file that is there.
        progress: told of each frame.

    Raises:
        InputError: files that can't be used, an env whose state can't be set, or an extra that
            is missing.
        ImagineError: the env could not be drawn, or the video not be written; there is none then.
    """
    output, progress = Path(output), progress or Silent()
    kind = _check_output(output, overwrite)
    with ExitStack() as stack:
        source = stack.enter_context(open_rollout(rollout))
        check_there(source, trajectory)
        if "action/mean" not in source:
            raise InputError(f"{source.path} has no actions, so that there is no real run of them")
        env_id = env_named(source.env_id, source.path, env_id)
        arguments = kwargs_named(source.env_kwargs, source.path, env_kwargs)
        imagined, real = (_drawing(stack, env_id, arguments) for _ in range(2))
        about = describe(real)
        sizes = (about.observation_size, about.action_size)
        if sizes != (source.observation_size, source.action_size):
            raise InputError(f"{source.path} has observations or actions that {env_id} has not")
        own = float(real.metadata.get("render_fps") or _FPS)
        every = max(1, math.ceil(own / _FASTEST[kind]))
        drawn = frames(source, trajectory, every, imagined, real, setter_for(imagined), about)
        progress.stage("drawing", source.steps // every + 1)
        file = stack.enter_context(whole_file(output, overwrite=overwrite))
        with writing(Path(file.name), kind, own / every) as write:
            for frame in drawn:
                write(frame)
                progress.advance(1)
    return output


def check_video(env_id: str, env_kwargs: dict[str, Any] | None, output: str | Path) -> None:
    """Refuse what can't become a video before anything is imagined. Raises InputError."""
    _check_output(Path(output), overwrite=True)
    with ExitStack() as stack:
        setter_for(_drawing(stack, env_id, env_kwargs or {}))


def _check_output(output: Path, overwrite: bool) -> str:
    """The format, once it is known that it can be written."""
    prepare()
    kind = output.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"the video {output} must end in {' or '.join(FORMATS)}")
    check_writable(output, overwrite)
    require("video", "imageio_ffmpeg", "pygame")
    return kind


def _drawing(stack: ExitStack, env_id: str, env_kwargs: dict[str, Any]) -> Any:
    """The env, drawn as arrays, until the stack ends. InputError where it can't be drawn."""
    try:
        env = make_env(env_id, {**env_kwargs, "render_mode": "rgb_array"})
    except InputError as error:
        said = os.environ.get("MUJOCO_GL")
        hint = f"; {MUJOCO_HINT}, and it is {said}" if said else ""
        raise InputError(f"there is no video of {env_id}: {error}{hint}") from error
    stack.callback(env.close)
    if "rgb_array" not in (env.metadata.get("render_modes") or []):
        raise InputError(f"{env_id} can't be drawn: it has no render_mode rgb_array")
    return env
