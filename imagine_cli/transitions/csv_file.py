"""A ``.csv`` file: a line of names, and a line of numbers for each step."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of
from imagine_cli.transitions.columns import listed
from imagine_cli.transitions.rows import Rows

_LIMIT = 64 * 2**20
_WORDS = {"": np.nan, "true": 1.0, "false": 0.0}


def recognises(path: Path) -> bool:
    """Whether its name says so."""
    return path.suffix.lower() == ".csv" and path.is_file()


def read(path: Path) -> Rows:
    """Its columns. Raises InputError."""
    size = path.stat().st_size
    if size > _LIMIT:
        raise InputError(
            f"{path} has {size / 2**20:.0f} MiB of text, more than the {_LIMIT // 2**20} MiB that "
            "are read; save it as .parquet or .npz"
        )
    _, names = next(_lines(path), (1, []))
    if len(set(names)) < len(names):
        raise InputError(f"{path} has two columns of one name: {listed(names)}")
    return Rows(path, "csv", sha256_of(path), names, lambda some: _columns(path, some))


def _columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    lines = _lines(path)
    _, header = next(lines)
    columns = [(header.index(name), array("d")) for name in names]
    for line, fields in lines:
        if len(fields) != len(header):
            raise InputError(f"{path}, line {line}: {len(fields)} fields and {len(header)} names")
        for place, numbers in columns:
            numbers.append(_number(fields[place], f"{path}, line {line}, {header[place]}"))
    return {name: np.array(numbers) for name, (_, numbers) in zip(names, columns, strict=True)}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Those that are not empty, with their numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            yield from ((reader.line_num, fields) for fields in reader if fields)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read: not CSV text") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error


def _number(text: str, where: str) -> float:
    known = _WORDS.get(text.strip().lower())
    try:
        return float(text.replace("_", "?")) if known is None else known
    except ValueError:
        raise InputError(f"{where}: {text[:40]!r} is not a number") from None
