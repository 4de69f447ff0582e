"""Files of actions: .npy, .csv and rollout .h5, read a piece at a time. No torch.

What a file claims is not believed: nothing is read before its shape has been seen, no piece
larger than was asked for is held, and nothing outside the file is followed.
"""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError

__all__ = ["ActionFile", "CsvFile", "NpyFile", "RolloutFile", "open_actions"]

DATASET = "action/mean"
_CSV_LIMIT = 64 * 2**20
_CHUNK_LIMIT = 256 * 2**20


class ActionFile(ABC):
    """An array of numbers in a file.

    Attributes:
        path: the file.
        shape: of the array, 1 to 3 sizes, none of them zero.
    """

    path: Path
    shape: tuple[int, ...]

    @abstractmethod
    def read(self, *index: slice) -> np.ndarray:
        """A piece of the array, one slice for each axis, float64."""


class NpyFile(ActionFile):
    """NumPy's own format. Never unpickles."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape = _checked(path, self._map())

    def _map(self) -> np.ndarray:
        try:
            return np.asarray(np.lib.format.open_memmap(self.path, mode="r"))
        except PermissionError:
            raise
        except Exception as error:  # whatever a header made of arbitrary bytes can provoke
            reason = "it holds Python objects" if "object" in str(error).lower() else "not .npy"
            if "mmap length" in str(error) or "truncated" in str(error).lower():
                reason = "it ends before its array does"
            raise InputError(
                f"the actions in {self.path} can't be read ({reason}); "
                "write them with numpy.save, as plain numbers"
            ) from error

    def read(self, *index: slice) -> np.ndarray:
        return np.asarray(self._map()[index].astype(np.float64))


class CsvFile(ActionFile):
    """Numbers with commas between, a line for each step; a first line of names is skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        if size > _CSV_LIMIT:
            raise InputError(
                f"the actions in {path} take {size / 2**20:.0f} MiB of text, more than the "
                f"{_CSV_LIMIT // 2**20} MiB that are read; save them as .npy"
            )
        self._values = self._parse()
        self.shape = _checked(path, self._values)

    def _parse(self) -> np.ndarray:
        rows: list[list[float]] = []
        begun = False
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                for line, fields in enumerate(csv.reader(file), start=1):
                    if not any(field.strip() for field in fields):
                        continue
                    numbers = [_number(field) for field in fields]
                    if not begun and all(number is None for number in numbers):
                        begun = True
                        continue
                    begun = True
                    for field, number in zip(fields, numbers, strict=True):
                        if number is None:
                            raise InputError(f"{self.path}, line {line}: {field!r} is not a number")
                    if rows and len(numbers) != len(rows[0]):
                        raise InputError(
                            f"{self.path}, line {line}: {len(numbers)} columns where the lines "
                            f"before have {len(rows[0])}"
                        )
                    rows.append([number for number in numbers if number is not None])
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"the actions in {self.path} can't be read: not CSV text") from error
        return np.array(rows, dtype=np.float64)

    def read(self, *index: slice) -> np.ndarray:
        return np.array(self._values[index])


class RolloutFile(ActionFile):
    """The dataset ``action/mean`` of a rollout file. Follows no link out of the file."""

    def __init__(self, path: Path) -> None:
        from imagine_cli.recording.probe import check_survives

        self.path = path
        check_survives(self._touch, path)
        with self._opened() as dataset:
            self.shape = _checked(path, dataset, f"dataset {DATASET} of ")
            chunk = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
            if chunk > _CHUNK_LIMIT:
                raise InputError(
                    f"dataset {DATASET} of {path} is stored in chunks of {chunk / 2**20:.0f} MiB, "
                    f"more than the {_CHUNK_LIMIT // 2**20} MiB that are read at once"
                )

    def _touch(self) -> None:
        with self._opened() as dataset:
            dataset[tuple(0 for _ in dataset.shape)]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The dataset, while its file is open."""
        from imagine_cli.recording import safe_hdf5

        with closing(safe_hdf5.open_file(self.path)) as file:
            try:
                yield self._dataset(file)
            except (InputError, MemoryError):
                raise
            except Exception as error:  # h5py raises nearly anything on a damaged file
                raise InputError(f"dataset {DATASET} of {self.path} is damaged: {error}") from error

    def _dataset(self, file: Any) -> Any:
        import h5py

        at = file
        for name in DATASET.split("/"):
            link = at.get(name, getlink=True) if isinstance(at, h5py.Group) else None
            if link is None:
                raise InputError(f"{self.path} has no dataset {DATASET}; is it a rollout file?")
            if not isinstance(link, h5py.HardLink):
                raise InputError(f"{self.path}: {name} is a link to elsewhere, which is refused")
            at = at[name]
        if not isinstance(at, h5py.Dataset):
            raise InputError(f"{self.path} has no dataset {DATASET}; is it a rollout file?")
        if at.is_virtual or at.external:
            raise InputError(f"{self.path}: {DATASET} keeps its data in other files: refused")
        return at

    def read(self, *index: slice) -> np.ndarray:
        with self._opened() as dataset:
            if dataset.shape != self.shape:
                raise InputError(f"{self.path} has changed since it was opened")
            return np.asarray(dataset[index], dtype=np.float64)


def open_actions(path: Path) -> ActionFile:
    """The file, by the ending of its name. Raises InputError on what can't be read."""
    kinds: dict[str, type[ActionFile]] = {".npy": NpyFile, ".csv": CsvFile}
    kind: Any = kinds.get(path.suffix.lower(), RolloutFile)
    try:
        opened: ActionFile = kind(path)
    except PermissionError as error:
        raise InputError(f"the actions in {path} can't be read: permission denied") from error
    return opened


def _checked(path: Path, array: Any, what: str = "") -> tuple[int, ...]:
    shape = tuple(int(size) for size in array.shape or ())
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}{path} holds {array.dtype}, not real numbers")
    if math.prod(shape) == 0:
        raise InputError(f"{what}{path} holds no actions (its shape is {shape})")
    if not 1 <= len(shape) <= 3:
        raise InputError(
            f"{what}{path} has the shape {shape}; actions have the shape (steps, F), the same for "
            "every trajectory, or (trajectories, steps, F)"
        )
    return shape


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None
