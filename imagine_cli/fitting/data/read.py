"""From files and folders of recorded transitions to recordings: one format a file, one line here.

A format's module answers ``recognises(path)``, by what is there and not by its name, and
``read(path)``, which raises InputError on what it can't use.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from imagine_cli.errors import InputError
from imagine_cli.fitting.data.recording import Recording

__all__ = ["read_recordings"]

_FORMATS = (
    "imagine_cli.fitting.data.rollout_file",
    "imagine_cli.fitting.data.minari",
    "imagine_cli.fitting.data.npz",
)


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
    for name in _FORMATS:
        module: Any = import_module(name)
        if module.recognises(path):
            found: Recording = module.read(path)
            if not len(found):
                raise InputError(f"{path} holds no transitions")
            return found
    raise InputError(
        f"--data {path} is none of what can be fitted to: a rollout file of a real run "
        "(imagine evaluate --record real.h5), the folder of a Minari dataset, or an .npz file"
    )
