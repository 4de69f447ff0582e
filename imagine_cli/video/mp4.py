"""An MP4 (H.264), frame by frame, by the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

__all__ = ["Mp4Writer"]


class Mp4Writer:
    """A video of frames whose sides are even. OSError where ffmpeg can't write it."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._pipe: Any = None

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pipe is not None:
            self._pipe.close()
            if kind is None and not (self._path.is_file() and self._path.stat().st_size):
                raise OSError("ffmpeg wrote nothing")

    def write(self, frame: np.ndarray) -> None:
        """One frame, ``(H, W, 3)`` uint8."""
        import imageio_ffmpeg

        if self._pipe is None:
            height, width = frame.shape[:2]
            self._pipe = imageio_ffmpeg.write_frames(
                str(self._path), (width, height), fps=self._fps, macro_block_size=2,
                output_params=["-f", "mp4"], ffmpeg_log_level="error",
            )  # fmt: skip
            self._pipe.send(None)
        try:
            self._pipe.send(np.ascontiguousarray(frame))
        except OSError as error:
            lines = str(error).strip().splitlines() or ["ffmpeg ended"]
            raise OSError(lines[-1]) from error
