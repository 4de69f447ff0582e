"""A Parquet file of columns with a row for each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagine_cli.files.digest import sha256_of
from imagine_cli.recording.probe import check_survives
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

    def columns(names: Sequence[str]) -> dict[str, np.ndarray]:
        check_survives(lambda: parquet_columns(path, names), path, "Parquet")
        return parquet_columns(path, names)

    check_survives(lambda: parquet_names(path), path, "Parquet")
    return Rows(path, "parquet", sha256_of(path), parquet_names(path), columns)
