"""Files of actions: .npy, .csv and rollout .h5, read a piece at a time. No torch.

What a file claims is not believed: nothing is read before its shape has been seen, no piece
larger than was asked for is held, and nothing outside the file is followed.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from imagine_cli.errors import InputError

_CSV_LIMIT = 16 * 2**20


class ActionFile:
    """An array of numbers in a file, in memory or mapped to it.

    Attributes:
        path: the file.
        shape: of the array, 1 to 3 sizes, none of them zero.
    """

    def __init__(self, path: Path, values: np.ndarray) -> None:
        self.path, self._values = path, values
        self.shape = tuple(int(size) for size in values.shape)
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path} holds {values.dtype}, not real numbers")
        if math.prod(self.shape) == 0:
            raise InputError(f"{path} holds no actions (its shape is {self.shape})")
        if not 1 <= len(self.shape) <= 3:
            raise InputError(
                f"{path} has the shape {self.shape}; actions have the shape (steps, F), the same "
                "for every trajectory, or (trajectories, steps, F)"
            )

    def read(self, *index: slice) -> np.ndarray:
        """A piece of the array, one slice for each axis, float64."""
        return np.array(self._values[index], dtype=np.float64)


def _mapped(path: Path) -> np.ndarray:
    """NumPy's own format. Never unpickles."""
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except PermissionError:
        raise
    except Exception as error:  # whatever a header made of arbitrary bytes can provoke
        reason = "it holds Python objects" if "object" in str(error).lower() else "not .npy"
        if "mmap length" in str(error) or "truncated" in str(error).lower():
            reason = "it ends before its array does"
        raise InputError(
            f"the actions in {path} can't be read ({reason}); "
            "write them with numpy.save, as plain numbers"
        ) from error


def read_csv(path: Path) -> np.ndarray:
    """Numbers with commas between, a line for each step; a first line of names is skipped."""
    size = path.stat().st_size
    if size > _CSV_LIMIT:
        raise InputError(
            f"{path} has {size / 2**20:.0f} MiB of text, more than the "
            f"{_CSV_LIMIT // 2**20} MiB that are read; save it as .npy"
        )
    rows: list[list[float]] = []
    begun = False
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, fields in enumerate(csv.reader(file), start=1):
                if not any(field.strip() for field in fields):
                    continue
                numbers = [number for number in map(_number, fields) if number is not None]
                if not begun and not numbers:
                    begun = True
                    continue
                begun = True
                if len(numbers) < len(fields):
                    field = next(field for field in fields if _number(field) is None)
                    raise InputError(f"{path}, line {line}: {field!r} is not a number")
                if rows and len(numbers) != len(rows[0]):
                    raise InputError(
                        f"{path}, line {line}: {len(numbers)} columns where the lines "
                        f"before have {len(rows[0])}"
                    )
                rows.append(numbers)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read: not CSV text") from error
    return np.array(rows, dtype=np.float64)


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
    reads = {".npy": _mapped, ".csv": read_csv}
    ending = path.suffix.lower()
    try:
        return ActionFile(path, reads[ending](path)) if ending in reads else RolloutFile(path)
    except PermissionError as error:
        raise InputError(f"the actions in {path} can't be read: permission denied") from error


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None
