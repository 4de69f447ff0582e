"""Matrix products whose rows don't depend on their place: padded, as a tile needs them.

In products of widths that are no multiple of eight a row's last bits may depend on where in the
tile it is (:func:`~imagine_cli.world_models.tiles.padded`). Zeros added to both factors change no
number, and take that away. Networks that somebody else wrote come with products of any width.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from imagine_cli.world_models.tiles import padded


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    wide: tuple[Tensor, Tensor | None] | None = None,
) -> Tensor:
    """``x Wᵀ + b`` of the input x.

    ``wide`` is what :func:`widened` makes of W and b, and is made here if None.
    """
    if weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        return functional.linear(input, weight, bias)
    product = functional.linear(padded(input, -1), *(wide or widened(weight, bias)))
    return product[..., : weight.shape[0]]


def widened(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A weight ``(K, E)`` and a bias ``(K,)`` with zeros added to both axes."""
    return padded(weight, -1, -2), None if bias is None else padded(bias, -1)


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    if input.ndim < 2 or other.ndim < 2 or input.shape[-1] != other.shape[-2]:
        return torch.matmul(input, other)
    return torch.matmul(padded(input, -1), padded(other, -1, -2))[..., : other.shape[-1]]


def _mm(input: Tensor, mat2: Tensor) -> Tensor:
    return _matmul(input, mat2)


def _addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    product = _matmul(mat1, mat2)
    product = product if alpha == 1 else alpha * product
    return product + (input if beta == 1 else beta * input)


def _baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return _addmm(input, batch1, batch2, beta=beta, alpha=alpha)


PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "linear": linear,
    "matmul": _matmul,
    "mm": _mm,
    "bmm": _mm,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
}
"""Each under the name of the function of torch that it stands for, and with its keywords."""

_FOUND: dict[Any, Callable[..., Tensor]] = {functional.linear: linear}
for _name in ("matmul", "mm", "bmm", "addmm", "baddbmm"):
    _FOUND[getattr(torch, _name)] = PRODUCTS[_name]
    _FOUND[getattr(torch.Tensor, _name)] = PRODUCTS[_name]
_FOUND[torch.Tensor.__matmul__] = _matmul
_SIGNATURES = {function: signature(function) for function in _FOUND.values()}


class BatchInvariantProducts(TorchFunctionMode):
    """While it is entered, every module's products are these."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            found = _FOUND.get(func)
        except TypeError:  # not hashable
            found = None
        if found is None:
            return func(*args, **kwargs)
        named = {name: value for name, value in kwargs.items() if name != "out"}
        try:
            _SIGNATURES[found].bind(*args, **named)
        except TypeError:  # called in a way of torch's that is not written here
            return func(*args, **kwargs)
        product, out = found(*args, **named), kwargs.get("out")
        return product if out is None else out.resize_(product.shape).copy_(product)
