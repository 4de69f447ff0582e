"""Files that belong to a folder somebody named."""

from __future__ import annotations

import os
from pathlib import Path

from imagine_cli.errors import InputError


def check_inside(part: Path, folder: Path) -> None:
    """InputError where a part of ``folder`` is a link, or a path, out of it."""
    if not Path(os.path.realpath(part)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{part} is a link to somewhere else, which is not followed; copy it here")
