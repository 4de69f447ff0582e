"""Files that appear under their names whole or not at all. No torch."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imagine_cli.errors import ImagineError, InputError

TEMPORARY = ".tmp"


def check_writable(path: Path, overwrite: bool) -> None:
    """InputError where a file can't or mustn't be written at ``path``."""
    if str(path) in ("-", "/dev/stdout", "/dev/stderr") or path.parent == Path("/dev/fd"):
        raise InputError(
            f"the output {path} can't be a stream: a file appears under its name when all of it is "
            "written; name a file"
        )
    try:
        there = path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or has a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the output {path} can't be written: {reason}") from error
    if path.is_dir():
        raise InputError(f"the output {path} is a folder; name a file in it")
    if there and not path.is_file():
        raise InputError(f"the output {path} is not a regular file; name another")
    if there and not overwrite:
        raise InputError(f"{path} exists; give --force (overwrite=True) to replace it")
    if not path.parent.is_dir():
        raise InputError(f"the output folder {path.parent} does not exist; make it first")


@contextmanager
def hidden_file(folder: Path) -> Iterator[BinaryIO]:
    """A new file under a name that nobody can guess; it is gone at the end unless renamed."""
    path = folder / f".{secrets.token_hex(12)}{TEMPORARY}"
    try:
        with path.open("xb") as file:  # follows no link, and opens nothing that is there
            yield file
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, called: str | None = None, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A hidden file beside ``path`` that takes its name at the end, or is gone.

    Where ``path`` is a symbolic link, it stays one, and the file that it points to is made.

    Raises:
        InputError: ``path`` can't or mustn't be written.
        ImagineError: the disk refused; ``called`` says what could not be written, ``path`` if None.
    """
    target = Path(os.path.realpath(path))
    check_writable(path, overwrite)
    try:
        with hidden_file(target.parent) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            publish(Path(file.name), target, overwrite)
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise ImagineError(f"{called or path} could not be written: {reason}") from error


def publish(written: Path, target: Path, overwrite: bool) -> None:
    """Give a file that is on the disk the name ``target``.

    Raises:
        ImagineError: without ``overwrite``, a file that was made there meanwhile; it stays.
        OSError: the disk refuses.
    """
    try:
        if overwrite:
            os.replace(written, target)
        else:
            rename_to_new(written, target)
    except FileExistsError:
        raise ImagineError(
            f"{target} was made by someone else in the meantime; it was left alone, and what was "
            "to go there is lost"
        ) from None
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the new name survives a power cut too
        finally:
            os.close(folder)


def rename_to_new(written: Path, target: Path) -> None:
    """FileExistsError where the name is taken."""
    try:
        os.link(written, target)  # unlike a rename, fails where the target exists
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.replace(written, target)
    else:
        written.unlink()
