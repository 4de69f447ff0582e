"""Videos: the real env set to what was imagined, beside the real run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.video.render import check_video as check_video
    from imagine_cli.video.render import render_video as render_video

__all__ = ["check_video", "render_video"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("imagine_cli.video.render"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
