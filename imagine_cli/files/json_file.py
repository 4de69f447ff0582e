"""JSON files by anyone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagine_cli.errors import InputError


def read_json(path: Path, most: int = 2**24) -> dict[str, Any]:
    """The object in a file of at most ``most`` bytes. Raises InputError."""
    try:
        if path.is_file() and path.stat().st_size > most:
            raise InputError(f"{path} has more than {most} bytes, far more than it should: refused")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a JSON object")
    return found
