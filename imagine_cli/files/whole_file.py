"""Files that appear under their names whole or not at all. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagine_cli.errors import ImagineError, InputError


def check_writable(path: Path, overwrite: bool) -> None:
    """InputError where a file can't or mustn't be written at ``path``."""
    if path.is_dir():
        raise InputError(f"the output {path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give --force (overwrite=True) to replace it")
    if not path.parent.is_dir():
        raise InputError(f"the output folder {path.parent} does not exist; make it first")


@contextmanager
def whole_file(path: Path, called: str | None = None) -> Iterator[BinaryIO]:
    """A hidden file beside ``path`` that takes its name at the end, or is gone.

    Raises:
        ImagineError: the disk refused; ``called`` says what could not be written, ``path`` if None.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise ImagineError(f"{called or path} could not be written: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)
