"""Matrix products whose rows don't depend on their place: padded, as a tile needs them.

In products of widths that are no multiple of eight a row's last bits may depend on where in the
tile it is (:func:`~imagine_cli.world_models.tiles.padded`). Zeros added to both factors change no
number, and take that away. Networks that somebody else wrote come with products of any width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from imagine_cli.world_models.tiles import padded

__all__ = ["PRODUCTS", "SteadyProducts", "linear", "widened"]


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    wide: tuple[Tensor, Tensor | None] | None = None,
) -> Tensor:
    """``x Wᵀ + b``; ``wide`` is what :func:`widened` makes of W and b, and is made here if None."""
    if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        return functional.linear(x, weight, bias)
    product = functional.linear(padded(x, -1), *(wide or widened(weight, bias)))
    return product[..., : weight.shape[0]]


def widened(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A weight ``(K, E)`` and a bias ``(K,)`` with zeros added to both axes."""
    return padded(weight, -1, -2), None if bias is None else padded(bias, -1)


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-2]:
        return torch.matmul(left, right)
    return torch.matmul(padded(left, -1), padded(right, -1, -2))[..., : right.shape[-1]]


def _addmm(
    bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    product = _matmul(left, right)
    product = product if alpha == 1 else alpha * product
    return product + (bias if beta == 1 else beta * bias)


PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "linear": linear,
    "matmul": _matmul,
    "mm": _matmul,
    "bmm": _matmul,
    "addmm": _addmm,
    "baddbmm": _addmm,
}
"""Each under the name of the function of torch that it stands for."""

_FOUND: dict[Any, Callable[..., Tensor]] = {functional.linear: linear}
for _name in ("matmul", "mm", "bmm", "addmm", "baddbmm"):
    _FOUND[getattr(torch, _name)] = PRODUCTS[_name]
    _FOUND[getattr(torch.Tensor, _name)] = PRODUCTS[_name]
_FOUND[torch.Tensor.__matmul__] = _matmul


class SteadyProducts(TorchFunctionMode):
    """While it is entered, every module's products are these."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        try:
            found = _FOUND.get(func, func)
        except TypeError:  # not hashable
            found = func
        return found(*args, **(kwargs or {}))
