"""Files that belong to a folder somebody named."""

from __future__ import annotations

import os
from pathlib import Path

from imagine_cli.errors import InputError


def check_inside(part: Path, folder: Path) -> None:
    """InputError where a part of ``folder`` is a link, or below one, or a path out of it."""
    below = os.path.relpath(part, folder)
    if os.path.realpath(part) != os.path.join(os.path.realpath(folder), below):
        raise InputError(f"{part} is a link to somewhere else, which is not followed; copy it here")
