"""GIF and MP4, read back by other readers, and written without keeping the frames."""

from __future__ import annotations

import resource
import tracemalloc
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from imagine_cli.video.ffmpeg import writing


def frame(k: int, height: int = 40, width: int = 64) -> np.ndarray:
    """Few colours, other ones for each k, so that a GIF can hold them as they are."""
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    picture[5:20, 3 + k % 40 : 20 + k % 40] = (10 * k % 256, 90, 255 - 3 * k % 256)
    picture[25:30] = (k % 256, 0, 40)
    return picture


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_gif_is_read_back_frame_by_frame(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.gif.partial"
    with writing(path, ".gif", fps=20) as write:
        for k in range(count):
            write(frame(k))
    read = Image.open(path)
    assert getattr(read, "n_frames", 1) == count
    assert read.size == (64, 40)
    assert read.info["loop"] == 0
    for k in range(count):
        read.seek(k)
        assert read.info["duration"] == 50
        assert (np.asarray(read.convert("RGB")) == frame(k)).all()


def test_a_gif_of_many_colours_is_near(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(80), np.arange(120))
    picture = np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1).astype(np.uint8)
    with writing(tmp_path / "a", ".gif", fps=50) as write:
        write(picture)
        write(picture[::-1])
    read = Image.open(tmp_path / "a")
    read.seek(1)
    shown = np.asarray(read.convert("RGB")).astype(int)
    assert np.abs(shown - picture[::-1]).mean() < 8


def test_an_mp4_is_read_back_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4.partial"
    with writing(path, ".mp4", fps=25) as write:
        for k in range(12):
            write(frame(k, 48, 66))
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    assert (about["size"], about["fps"], about["codec"]) == ((66, 48), 25.0, "h264")
    shown = [np.frombuffer(data, np.uint8).reshape(48, 66, 3).astype(int) for data in reader]
    assert len(shown) == 12
    # Lossy, and colours have half the resolution: on average within a few parts of 256.
    for k, found in enumerate(shown):
        right = np.abs(found - frame(k, 48, 66)).mean()
        wrong = np.abs(found - frame(k + 4, 48, 66)).mean()
        assert right < 8
        assert right < wrong


@pytest.mark.parametrize("kind", [".gif", ".mp4"])
def test_memory_does_not_grow_with_the_frames(tmp_path: Path, kind: str) -> None:
    """Neither here nor in ffmpeg: the peak of the largest child so far, in KiB."""

    def peak(count: int) -> int:
        tracemalloc.start()
        with writing(tmp_path / "a", kind, fps=50) as write:
            for k in range(count):
                write(frame(k, 200, 300))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(3)
    few, theirs = peak(50), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak(600) < few + 200 * 300  # less than one more frame
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < theirs + 10_000


def test_what_ffmpeg_cannot_write_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "no" / "a"
    with pytest.raises(OSError, match="."), writing(place, ".gif", fps=50) as write:
        for k in range(100):
            write(frame(k))
