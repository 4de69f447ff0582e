"""Videos: the real env set to what was imagined, beside the real run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.video.render import check_video as check_video
    from imagine_cli.video.render import render_video as render_video

_HOME = {"check_video": "render", "render_video": "render"}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
