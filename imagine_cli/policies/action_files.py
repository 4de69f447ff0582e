"""Files of actions: .npy, .csv and rollout .h5, read a piece at a time. No torch.

What a file claims is not believed: nothing is read before its shape has been seen, no piece
larger than was asked for is held, and nothing outside the file is followed.
"""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError

__all__ = ["ActionFile", "CsvFile", "NpyFile", "RolloutFile", "open_actions"]

_CSV_LIMIT = 64 * 2**20


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
    """The actions of a rollout file, which stays open."""

    def __init__(self, path: Path) -> None:
        from imagine_cli.recording import open_rollout

        self.path, self._rollout = path, open_rollout(path)
        if "action/mean" not in self._rollout:
            self._rollout.close()
            raise InputError(f"{path} has no dataset action/mean, so that nothing can be replayed")
        self.shape = self._rollout.datasets["action/mean"]

    def read(self, *index: slice) -> np.ndarray:
        trajectory, step = index[:2]
        return self._rollout.action_mean(trajectory, step).astype(np.float64)


def open_actions(path: Path) -> ActionFile:
    """The file, by the ending of its name. Raises InputError on what can't be read."""
    kinds: dict[str, type[ActionFile]] = {".npy": NpyFile, ".csv": CsvFile}
    kind: Any = kinds.get(path.suffix.lower(), RolloutFile)
    try:
        opened: ActionFile = kind(path)
    except PermissionError as error:
        raise InputError(f"the actions in {path} can't be read: permission denied") from error
    return opened


def _checked(path: Path, array: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in array.shape or ())
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path} holds {array.dtype}, not real numbers")
    if math.prod(shape) == 0:
        raise InputError(f"{path} holds no actions (its shape is {shape})")
    if not 1 <= len(shape) <= 3:
        raise InputError(
            f"{path} has the shape {shape}; actions have the shape (steps, F), the same for "
            "every trajectory, or (trajectories, steps, F)"
        )
    return shape


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None
