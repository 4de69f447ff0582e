"""What a program would compute and hold, known before anything of it is computed.

Sizes follow from sizes alone: the program is run on torch's ``meta`` tensors, which have shapes
and no numbers, and every operator that torch makes of its calls is weighed. One whose sizes follow
from numbers (a mask that is computed, a count of other things) fails there, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from imagine_cli.errors import InputError
from imagine_cli.world_models.program import function_of, run_program

_ROWS = 32
# For up to so many rows, beside what a file's own tensors allow.
_BYTES = 2**28
_NUMBERS = 2**26
_BYTES_EACH = 8
_NUMBERS_EACH = 64
# Products are quicker than what reads their factors from memory.
_PRODUCTS_EACH = 16
_CALL = 1000
_MOST_RESULTS = 20_000
_MOST_AXES = 64
_MASKS = (torch.bool, torch.uint8)
_PRODUCTS = {"mm": 0, "bmm": 0, "dot": 0, "vdot": 0, "mv": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}


def check_budget(
    program: dict[str, Any], tensors: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> None:
    """Raises InputError for a program that would take far more than its tensors explain.

    Args:
        program: a checked one.
        tensors: the constants.
        inputs: what it is given, ``(rows, ...)``, of which the sizes count.
    """
    meta = {name: value.to("meta") for name, value in tensors.items()}
    picked = {
        id(meta[name]): value.nonzero().to("meta").unbind(1)
        for name, value in tensors.items()
        if value.dtype in _MASKS
    }
    rows = max(len(value) for value in inputs.values())
    scale = max(1, rows // _ROWS)
    size = sum(value.nbytes for value in tensors.values())
    count = sum(value.numel() for value in tensors.values())
    scales = _Scales(
        scale * (_BYTES + _BYTES_EACH * size), scale * (_NUMBERS + _NUMBERS_EACH * count)
    )

    def call(_: Any, name: str, given: list[Any], named: dict[str, Any]) -> Any:
        function = function_of(name)
        if name == "aten.index.Tensor":
            given = [given[0], list(_unmasked(given[1], picked)), *given[2:]]
        schema = getattr(function, "_schema", None)
        if any("List" in str(each.type) for each in getattr(schema, "returns", ())):
            _check_results((*given, *named.values()))
        if any(
            each.name == "device" and each.kwarg_only for each in getattr(schema, "arguments", ())
        ):
            named = {**named, "device": "meta"}
        return function(*given, **named)

    shapes = {name: value.to("meta") for name, value in inputs.items()}
    with torch.no_grad(), scales:
        run_program(program, meta, shapes, call)


class _Scales(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums what each operator allocates and how many numbers it reads, writes and multiplies."""

    def __init__(self, most_bytes: int, most_numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_bytes, self.most_numbers = most_bytes, most_numbers
        self.bytes, self.numbers = 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        given, results = list(_tensors(args)), list(_tensors(found))
        for result in results:
            if not result.is_meta:
                raise InputError(f"it makes a tensor beside its inputs' device ({func})")
            if result.ndim > _MOST_AXES:
                raise InputError(f"it makes a tensor of {result.ndim} axes")
            self._weigh(_CALL if func.is_view else _CALL + math.prod(result.shape))
            # What is no more than looked at is read by who looks at it.
            if math.prod(result.shape) > self.most_numbers:
                self._weigh(self.most_numbers)
            if not func.is_view:
                self.bytes += math.prod(result.shape) * result.itemsize
        if not func.is_view:
            self._weigh(sum(math.prod(each.shape) for each in given))
        packet = func.overloadpacket.__name__
        if packet in _PRODUCTS:
            inner = given[_PRODUCTS[packet]].shape[-1]
            self._weigh(math.prod(results[0].shape) * inner // _PRODUCTS_EACH)
        if self.bytes > self.most_bytes:
            raise InputError(
                f"it needs more than {self.most_bytes >> 20} MiB for {_ROWS} points at {func}"
            )
        return found

    def _weigh(self, numbers: int) -> None:
        self.numbers += numbers
        if self.numbers > self.most_numbers:
            raise InputError(f"it computes more than {self.most_numbers} numbers")


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for each in values:
            yield from _tensors(each)


def _unmasked(indices: Any, picked: Mapping[int, Sequence[Tensor]]) -> Iterator[Any]:
    """Indices with the places that a constant mask picks instead of the mask."""
    for each in indices:
        if not isinstance(each, Tensor) or each.dtype not in _MASKS:
            yield each
        elif id(each) in picked:
            yield from picked[id(each)]
        else:
            raise InputError("it picks numbers by a mask that it computes")


def _check_results(given: tuple[Any, ...]) -> None:
    """That what takes tensors apart makes no more of them than memory has places for."""
    sizes = [each for each in given if isinstance(each, int)]
    sizes += [size for each in _tensors(given) for size in each.shape]
    if max(sizes, default=0) > _MOST_RESULTS:
        raise InputError(f"it makes more than {_MOST_RESULTS} tensors of one")
