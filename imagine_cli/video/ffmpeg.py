"""Videos, frame by frame, by the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# One frame is in memory at a time, so that each has 256 colours of its own.
_COLOURS = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none"
_FORMATS: dict[str, dict[str, Any]] = {
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "output_params": ["-vf", _COLOURS, "-f", "gif"],
    },
    ".mp4": {"output_params": ["-f", "mp4"]},
}


@contextmanager
def writing(path: Path, kind: str, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that takes frames ``(H, W, 3)`` uint8, H and W even.

    Args:
        path: the file, complete at the end.
        kind: ``".mp4"`` (H.264), or ``".gif"``, which repeats for ever and whose frames last
            hundredths of a second.
        fps: frames a second.

    Raises:
        OSError: ffmpeg can't write it.
    """
    import imageio_ffmpeg

    pipe: Any = None

    def write(frame: np.ndarray) -> None:
        nonlocal pipe
        if pipe is None:
            pipe = imageio_ffmpeg.write_frames(
                str(path), frame.shape[1::-1], fps=fps, macro_block_size=2,
                ffmpeg_log_level="error", **_FORMATS[kind],
            )  # fmt: skip
            pipe.send(None)
        try:
            pipe.send(np.ascontiguousarray(frame))
        except OSError as error:
            raise OSError((str(error).strip().splitlines() or ["ffmpeg ended"])[0]) from error

    try:
        yield write
    finally:
        if pipe is not None:
            pipe.close()
    if not (path.is_file() and path.stat().st_size):
        raise OSError("ffmpeg wrote nothing")
