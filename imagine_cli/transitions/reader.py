"""The one reader of recorded transitions: one format a file of code in this folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imagine_cli.errors import InputError
from imagine_cli.registry import DATA_FORMATS
from imagine_cli.transitions.columns import parse_columns
from imagine_cli.transitions.located import located
from imagine_cli.transitions.recording import Recording
from imagine_cli.transitions.rows import Rows


def read_recordings(sources: Iterable[str | Path], columns: str | None = None) -> list[Recording]:
    """The recorded transitions of each source, in their order.

    Args:
        sources: each a file or folder of one of the formats, or the id of a Minari dataset.
        columns: as ``--columns`` says them, for files that have a row for each step.

    Raises:
        InputError: no such file, one of another format, one that can't be used, or one twice:
            what is fitted to would be scored on too.
    """
    said = {} if columns is None else parse_columns(columns)
    found: list[Recording] = []
    for source in sources:
        new = _read(Path(source), said)
        for known in found:
            if known.sha256 == new.sha256:
                raise InputError(f"--data {new.path} holds the same as {known.path}; give it once")
        found.append(new)
    if not found:
        raise InputError("there are no data to fit to; give at least one --data")
    return found


def _read(source: Path, said: Mapping[str, Sequence[str]]) -> Recording:
    path = located(source)
    for data_format in map(DATA_FORMATS.load, DATA_FORMATS):
        if data_format.recognises(path):
            found: Recording | Rows = data_format.read(path)
            if isinstance(found, Rows):
                found = found.recording(said)
            elif said:
                raise InputError(f"{source} says itself what is what; leave out --columns")
            if not len(found):
                raise InputError(f"{source} holds no transitions")
            return replace(found, path=source)
    raise InputError(
        f"{source} is none of what can be read as transitions: a rollout file of a real run "
        "(imagine evaluate --record real.h5), a Minari dataset, an .npz, .hdf5, .csv or .parquet "
        "file, or a folder that torchrl dumped"
    )
