"""Files of plain data, as ``torch.save`` writes them: read without running anything in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.files.archive import read_archive
from imagine_cli.files.unpickler import Refused
from imagine_cli.files.whole_file import whole_file

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"

# What the members of an archive may add up to beyond twice the file's own size.
_UNPACKED_LIMIT = 2**20


def read(path: Path, what: str, *, instead: str) -> Any:
    """The plain data in a file.

    Args:
        path: the file.
        what: what it should be, for errors: "world model", "policy".
        instead: what to do about a file that needs code to be run.

    Raises:
        InputError: no such file, a folder, truncated, of another format, or holding code.
    """
    if not check_looks(path, what):
        raise InputError(
            f"{path} holds pickled Python objects (a bare pickle, as torch.save wrote them before "
            f"PyTorch 1.6), and loading those can run any code: it is refused; {instead}"
        )
    try:
        return read_archive(path)
    except Refused as error:
        raise InputError(f"{path} holds {error}: it is refused; {instead}") from error
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        raise InputError(_damaged(path, what)) from error


def check_looks(path: Path, what: str) -> bool:
    """Whether it looks like an archive, or else like a bare pickle; InputError if like neither."""
    if path.is_dir():
        raise InputError(f"the {what} {path} is a folder; name the .pt file in it")
    if not path.exists():
        raise InputError(f"there is no {what} {path}")
    if not path.is_file():
        raise InputError(f"the {what} {path} is not a regular file; name a .pt file")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"the {what} {path} can't be read: {error.strerror}") from error
    if not head:
        raise InputError(f"the {what} {path} is empty")
    if head == _HDF5:
        raise InputError(
            f"{path} is an HDF5 file, such as a rollout, not a {what}; "
            f"look at it with: imagine inspect {path}"
        )
    if head.startswith(_ZIP):
        _check_archive(path, what)
    elif head[0] != 0x80:  # neither an archive nor a pickle
        raise InputError(f"{path} is not a {what}: torch.save did not write it")
    return head.startswith(_ZIP)


def _check_archive(path: Path, what: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        raise InputError(_damaged(path, what)) from error
    if unpacked > 2 * path.stat().st_size + _UNPACKED_LIMIT:
        raise InputError(f"{path} unpacks to {unpacked} bytes, far more than it has: refused")


def _damaged(path: Path, what: str) -> str:
    return (
        f"{path} can't be read as a {what}: it is cut short or damaged, or torch.save did not "
        "write it; copy or make it again"
    )


def check_tensors(state: Mapping[Any, Any], path: Path, what: str) -> None:
    """That a state dict holds finite plain tensors under strings. Raises InputError."""
    for name, tensor in state.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise InputError(f"the {what} {path}: {name!r} in its state is not a plain tensor")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            where = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            raise InputError(
                f"the {what} {path} holds numbers that are not finite, the first in {name!r} at "
                f"{where}; make it again"
            )


def plain(value: Any, where: str) -> Any:
    """``value`` as plain data: numpy's and torch's numbers and arrays become Python's.

    Raises InputError, naming ``where`` it is, for anything that is not plain data.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{k}]") for k, item in enumerate(value)]
    if isinstance(value, (bool, int, float, str)):  # numpy.float64 is a float
        return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    raise InputError(
        f"{where} is a {type(value).__name__}; a checkpoint holds numbers, strings, lists and dicts"
    )


def write(content: dict[str, Any], path: Path, what: str, *, overwrite: bool) -> None:
    """Write a file that :func:`read` reads. It appears under ``path`` whole or not at all.

    Raises:
        InputError: ``path`` can't or mustn't be written.
        ImagineError: the disk refused.
    """
    with whole_file(path, f"the {what} {path}", overwrite=overwrite) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # what torch turns some disk errors into
            raise OSError(str(error)) from error
