"""A Parquet file of columns with a row for each step."""

from __future__ import annotations

from pathlib import Path

from imagine_cli.files.digest import sha256_of
from imagine_cli.transitions.arrow import parquet_columns, parquet_names
from imagine_cli.transitions.rows import Rows

_SIGNATURE = b"PAR1"


def recognises(path: Path) -> bool:
    """Whether it begins as such a file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def read(path: Path) -> Rows:
    """Its columns. Raises InputError."""
    names = parquet_names(path)
    return Rows(path, "parquet", sha256_of(path), names, lambda some: parquet_columns(path, some))
