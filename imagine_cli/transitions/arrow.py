"""Columns of Arrow and Parquet files as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError, require
from imagine_cli.files.unpacked import check_unpacked


def parquet_names(path: Path) -> list[str]:
    """Of the columns of a Parquet file. Raises InputError."""
    with _reading(path):
        from pyarrow.parquet import ParquetFile

        with ParquetFile(path) as file:
            return [str(name) for name in file.schema_arrow.names]


def parquet_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """``(N,)`` each, or ``(N, D)`` of a column of lists. Raises InputError."""
    with _reading(path):
        from pyarrow.parquet import ParquetFile

        with ParquetFile(path) as file:
            _check_types(file.schema_arrow, names, path)
            groups = (file.metadata.row_group(k) for k in range(file.metadata.num_row_groups))
            columns = (group.column(k) for group in groups for k in range(group.num_columns))
            wanted = tuple(f"{name}." for name in names)
            count = sum(c.num_values for c in columns if f"{c.path_in_schema}.".startswith(wanted))
            check_unpacked(8 * count, str(path), path)
            return _arrays(file.read(columns=list(names), use_threads=False), names, path)


def arrow_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """As :func:`parquet_columns`, of an Arrow file. Raises InputError."""
    with _reading(path):
        import pyarrow

        with pyarrow.OSFile(str(path)) as source, pyarrow.ipc.open_file(source) as file:
            _check_types(file.schema, names, path)
            batches = []
            for k in range(file.num_record_batches):
                batches.append(file.get_batch(k).select(list(names)))
                batches[-1].validate(full=True)
                check_unpacked(sum(batch.nbytes for batch in batches), str(path), path)
            return _arrays(pyarrow.Table.from_batches(batches), names, path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    require("parquet", "pyarrow")
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged and can't be read: {reason}") from error


def _check_types(schema: Any, names: Sequence[str], path: Path) -> None:
    """InputError where a column holds neither numbers nor lists of them."""
    from pyarrow import types

    for name in names:
        kind = schema.field(name).type
        number = kind.value_type if _is_list(kind) else kind
        if not (types.is_integer(number) or types.is_floating(number) or types.is_boolean(number)):
            raise InputError(f"{name} in {path} holds {kind}, not numbers")


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _arrays(table: Any, names: Sequence[str], path: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in names:
        column = table.column(name).combine_chunks()
        found[name] = _array(column, f"{name} in {path}")
    return found


def _array(column: Any, where: str) -> np.ndarray:
    from pyarrow import compute

    rows, lists = len(column), _is_list(column.type)
    if lists:
        lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
        if (lengths != lengths[:1]).any():  # a missing list is NaN, unlike itself
            raise InputError(f"{where} has lists that differ in length")
        column = column.flatten()
    array = np.asarray(column.to_numpy(zero_copy_only=False))
    if array.dtype == object:  # a column of truths where some are missing
        raise InputError(f"{where} has gaps")
    return array.reshape(rows, -1) if lists and rows else array
