"""Where recorded transitions are. Nothing heavy is imported here."""

from __future__ import annotations

import os
from pathlib import Path

from imagine_cli.errors import InputError


def located(source: str | Path) -> Path:
    """A file or folder; else where Minari keeps the dataset of that id. Raises InputError."""
    path = Path(source)
    if os.path.lexists(path):
        return path
    kept = os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets"
    folder = Path(kept).expanduser() / path
    if not path.is_absolute() and ".." not in path.parts and (folder / "data").is_dir():
        return folder
    raise InputError(f"there is no file {source}, and no Minari dataset of that id in {kept}")
