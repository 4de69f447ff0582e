"""What a search has evaluated, in a file, so that it goes on to the bit where it was interrupted.

An optimiser's course follows from the values that it is given: given those of before again, it
comes to where it stood.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.errors import ImagineError, InputError

Row = tuple[float, Tensor, str]
"""J, its gradient ``(K,)``, and why it failed where it is NaN."""


class EvaluationLog:
    """Batches of evaluations, answered from a file as far as it has them.

    Args:
        path: the file; it begins with ``request``.
        request: all that decides the values.
        resume: go on from what is there; else begin anew.

    Raises:
        InputError: the file is of another request.
    """

    def __init__(self, path: Path, request: str, resume: bool) -> None:
        self.path = path
        self._there = self._read(request) if resume and path.exists() else []
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise ImagineError(f"{path} could not be written: {error.strerror}") from error
        self._write(np.array(request))

    def answer(self, vectors: Tensor, evaluate: Callable[[Tensor], list[Any]]) -> list[Row]:
        """The values at ``(R, K)``: those of before, else ``evaluate(vectors)``."""
        kept = self._there.pop(0) if self._there else None
        if kept is not None and np.array_equal(kept[0], vectors.detach().cpu().numpy()):
            rows = [
                (float(number), torch.from_numpy(row).to(vectors), str(why))
                for number, row, why in zip(*kept[1:], strict=True)
            ]
        else:
            self._there = []  # of another machine or version: from here on it is anew
            rows = [tuple(one) for one in evaluate(vectors)]
        numbers, gradients, failures = zip(*rows, strict=True)
        gradient = torch.stack(gradients).detach().cpu().numpy()
        self._write(vectors.detach().cpu().numpy(), np.array(numbers), gradient, np.array(failures))
        return rows

    def remove(self) -> None:
        """The search is over, and nothing will go on from here."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, *arrays: np.ndarray) -> None:
        buffer = io.BytesIO()
        for array in arrays:
            np.save(buffer, array, allow_pickle=False)
        self._file.write(buffer.getvalue())
        self._file.flush()

    def _read(self, request: str) -> list[tuple[np.ndarray, ...]]:
        found: list[tuple[np.ndarray, ...]] = []
        with self.path.open("rb") as file:
            try:
                asked = str(np.load(file, allow_pickle=False))
                while asked == request:
                    found.append(tuple(np.load(file, allow_pickle=False) for _ in range(4)))
            except (EOFError, OSError, ValueError):  # its end, perhaps within a batch
                pass
            else:
                raise InputError(
                    f"{self.path} is of another search; leave out --resume to begin anew"
                )
        return found
