"""Layers of several networks at once, each with its activation in one call of oneDNN.

A layer of M networks, one matrix product for each, is a convolution of one pixel in M groups. On
a CPU oneDNN computes that at nearly the full rate of the machine and applies the activation while
the numbers are in registers, where the batched product and the activation one after the other
reach half of it or less. The operators are those that ``torch.compile`` emits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from imagine_cli.world_models.networks import through
from imagine_cli.world_models.tensor_versions import Versions, unchanged, versions_of

Layers = list[tuple[Tensor, Tensor]]

# What oneDNN calls an activation, and its parameters.
_NAMES: dict[str, tuple[str, list[float]]] = {
    "silu": ("swish", []), "relu": ("relu", []), "tanh": ("tanh", []),
    "leaky_relu": ("leaky_relu", [0.01]),
}  # fmt: skip
# Without these instructions the batched product is as fast.
_CAPABILITY = "AVX512"
# How many rows weights are packed for; those of tiles of other sizes are the same.
_ROWS = 256
_PIXEL: tuple[list[int], list[int], list[int]] = ([0, 0], [1, 1], [1, 1])


class _Packed(NamedTuple):
    """A layer as oneDNN reads it: its weights in an opaque order, and biases ``(M * out,)``."""

    weight: Tensor
    bias: Tensor
    groups: int
    activation: str
    scalars: list[float]

    def __call__(self, values: Tensor) -> Tensor:
        """``(1, M * out, 1, rows)`` of an image ``(1, M * in, 1, rows)``."""
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        given = (self.weight, self.bias, *_PIXEL, self.groups, self.activation, self.scalars, "")
        convolved: Tensor = convolve(values, *given)
        return convolved


class FusedLayers:
    """Packed copies of layers, made at first use and again where the layers are other ones.

    A copy or a pickle of it is empty, as packed weights can be neither copied nor written.
    """

    def __init__(self) -> None:
        self._source: Versions = []
        self._packed: list[_Packed] | None = None

    def __reduce__(self) -> tuple[type[FusedLayers], tuple[()]]:
        return FusedLayers, ()

    def __call__(self, layers: Layers, values: Tensor, activation: str) -> Tensor | None:
        """What the last layer gives, ``(rows, M, out)``, for ``values`` ``(rows, M, in)``.

        All layers but the last end in the activation. Widths are multiples of eight. Not
        differentiable: ask :func:`may_fuse` first.

        Args:
            layers: weights ``(M, in, out)`` and biases ``(M, out)``, first to last, which don't
                change in place without their versions telling.
            values: float32.
            activation: silu, relu, leaky_relu or tanh.

        Returns:
            None where these layers can't be computed in this way.
        """
        source = versions_of(part for layer in layers for part in layer)
        if not unchanged(source, self._source):
            self._packed = _packed(layers, activation)
            self._source = source
        if self._packed is None:
            return None
        given, values = values, _in_order(self._packed, values)
        if not math.isfinite(float(given.sum())):  # of a NaN oneDNN's relu makes a zero
            values = values.masked_fill(~given.isfinite().all(-1, keepdim=True), math.nan)
        return values


def may_fuse(values: Tensor) -> bool:
    """Whether nothing but the numbers of ``values`` is asked for, in float32 and on a CPU.

    Where they are to be differentiated, or are computed in the course of a transform or a trace,
    the operators would leave no trace of themselves.
    """
    return (
        type(values) is Tensor
        and values.dtype == torch.float32
        and values.device.type == "cpu"
        and bool(torch.backends.mkldnn.enabled)
        and not (torch.is_grad_enabled() and values.requires_grad)
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
        and forward_ad.unpack_dual(values).tangent is None  # type: ignore[no-untyped-call]
    )


def _packed(layers: Layers, activation: str) -> list[_Packed] | None:
    """The layers packed, or None where they, this machine or this torch don't allow it."""
    if torch.backends.cpu.get_cpu_capability() != _CAPABILITY:
        return None
    parts = [part for layer in layers for part in layer]
    if any(x.dtype != torch.float32 or x.device.type != "cpu" or x.requires_grad for x in parts):
        return None
    if not all(bool(x.isfinite().all()) for x in parts):
        return None
    try:
        packed = [
            _pack(*layer, *(_NAMES[activation] if layer is not layers[-1] else ("none", [])))
            for layer in layers
        ]
        if not _computes(packed, layers, activation):
            return None
    except (AttributeError, RuntimeError):  # no such operators, or they refuse
        return None
    return packed


def _in_order(packed: list[_Packed], values: Tensor) -> Tensor:
    """What the last layer gives, ``(rows, M, out)``, for ``values`` ``(rows, M, in)``."""
    rows, groups, size = values.shape
    # Channels last, the rows being the image's only line: in memory it is as it was.
    values = values.reshape(1, 1, rows, groups * size).permute(0, 3, 1, 2)
    for layer in packed:
        values = layer(values)
    return values.permute(0, 2, 3, 1).reshape(rows, groups, -1)


def _computes(packed: list[_Packed], layers: Layers, activation: str) -> bool:
    """Whether the operators, which no release promises, do what they are taken to do."""
    groups, size, _ = layers[0][0].shape
    some = torch.linspace(-2.0, 2.0, 8 * groups * size, dtype=torch.float32)
    some = some.view(8, groups, size)
    found = _in_order(packed, some).transpose(0, 1)
    expected = through(layers, some.transpose(0, 1), activation)
    scale = float(expected.abs().max())
    # Rounding of a few layers; anything else is far off, or not finite.
    return bool((found - expected).abs().max() <= 1e-3 * scale) or not math.isfinite(scale)


def _pack(weight: Tensor, bias: Tensor, activation: str, scalars: list[Any]) -> _Packed:
    groups, size, _ = weight.shape
    filters = weight.mT.reshape(-1, size, 1, 1).to(memory_format=torch.channels_last)
    image = [1, groups * size, 1, _ROWS]
    packed = torch.ops.mkldnn._reorder_convolution_weight.default(filters, *_PIXEL, groups, image)
    return _Packed(packed, bias.reshape(-1), groups, activation, scalars)
