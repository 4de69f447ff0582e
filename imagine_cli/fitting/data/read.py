"""From files and folders of recorded transitions to recordings: one format a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagine_cli.errors import InputError
from imagine_cli.fitting.data.recording import Recording
from imagine_cli.registry import DATA_FORMATS

__all__ = ["read_recordings"]


def read_recordings(sources: Iterable[str | Path]) -> list[Recording]:
    """The recorded transitions of each source, in their order.

    Args:
        sources: each a rollout file of a real run (``imagine evaluate --record``), the folder of
            a Minari dataset, or an ``.npz`` file.

    Raises:
        InputError: no such file, one of another format, one that can't be used, or one twice:
            what is fitted to would be scored on too.
    """
    found: list[Recording] = []
    for source in sources:
        new = _read(Path(source))
        for known in found:
            if known.sha256 == new.sha256:
                raise InputError(f"--data {new.path} holds the same as {known.path}; give it once")
        found.append(new)
    if not found:
        raise InputError("there are no data to fit to; give at least one --data")
    return found


def _read(path: Path) -> Recording:
    if not path.exists():
        raise InputError(f"there is no --data {path}")
    for data_format in map(DATA_FORMATS.load, DATA_FORMATS):
        if data_format.recognises(path):
            found: Recording = data_format.read(path)
            if not len(found):
                raise InputError(f"{path} holds no transitions")
            return found
    raise InputError(
        f"--data {path} is none of what can be fitted to: a rollout file of a real run "
        "(imagine evaluate --record real.h5), the folder of a Minari dataset, or an .npz file"
    )
