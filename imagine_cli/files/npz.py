"""How large the arrays of an ``.npz`` file are, before one is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from imagine_cli.errors import InputError

# An array that unpacks to more than this, and to a hundred times the file's size, is no data.
_MOST_BYTES, _EXPANSION = 2**28, 100


def check_npz(path: Path) -> None:
    """InputError where a member of an archive of arrays unpacks to what is no data."""
    most = max(_MOST_BYTES, _EXPANSION * path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > most:
                raise InputError(
                    f"{path}: {member.filename} unpacks to {member.file_size} bytes, far more than "
                    "the file has: refused"
                )
