"""How large compressed numbers are, before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from imagine_cli.errors import InputError

# What unpacks to more than this, and to a hundred times the file's size, is no data.
_MOST_BYTES, _EXPANSION = 2**28, 100


def check_npz(path: Path) -> None:
    """InputError where a member of an archive of arrays unpacks to what is no data."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            check_unpacked(member.file_size, f"{path}: {member.filename}", path)


def check_unpacked(size: int, what: str, path: Path) -> None:
    """InputError where ``what`` unpacks to more bytes than the file can mean."""
    if size > max(_MOST_BYTES, _EXPANSION * path.stat().st_size):
        raise InputError(f"{what} unpacks to {size} bytes, far more than the file has: refused")
