"""Layers in calls of oneDNN: right, batch invariant, and never in the way of a derivative."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from imagine_cli.world_models.fused_layers import FusedLayers, may_fuse
from imagine_cli.world_models.networks import through
from tests.helpers.threads import threads

Layers = list[tuple[torch.Tensor, torch.Tensor]]

fused_here = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="nothing is fused without AVX512"
)
WIDTHS = [(8, 16), (8, 200, 200, 8), (24, 56, 40, 16), (16, 512, 72)]


def random_layers(members: int, widths: tuple[int, ...]) -> Layers:
    g = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(members, a, b, generator=g) / a**0.5,
            torch.randn(members, b, generator=g),
        )
        for a, b in pairwise(widths)
    ]


def inputs(rows: int, members: int, size: int) -> torch.Tensor:
    return torch.randn(rows, members, size, generator=torch.manual_seed(1))


def fused(layers: Layers, values: torch.Tensor, activation: str = "silu") -> torch.Tensor:
    found = FusedLayers()(layers, values, activation)
    assert found is not None
    return found


@fused_here
@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("members", [1, 5])
def test_errors_are_those_of_rounding(
    members: int, widths: tuple[int, ...], activation: str
) -> None:
    """Beside the same in float64, they are like those of the batched product in float32.

    Not the same: oneDNN adds up one number after another, where MKL may add parts of a sum.
    """
    layers, values = random_layers(members, widths), inputs(256, members, widths[0])
    side_by_side = values.transpose(0, 1)
    wide = [(weight.double(), bias.double()) for weight, bias in layers]
    exact = through(wide, side_by_side.double(), activation).transpose(0, 1)
    product = through(layers, side_by_side, activation).transpose(0, 1)
    error = (fused(layers, values, activation) - exact).square().mean().sqrt()
    assert error < 3.0 * (product - exact).square().mean().sqrt()


@fused_here
@pytest.mark.parametrize("rows", [8, 40, 200, 512])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("members", [1, 5])
def test_a_rows_bits_depend_on_nothing_else(
    members: int, widths: tuple[int, ...], rows: int
) -> None:
    layers, values = random_layers(members, widths), inputs(rows, members, widths[0])
    packed = FusedLayers()
    together = packed(layers, values, "silu")
    assert together is not None
    order = torch.randperm(rows, generator=torch.manual_seed(2))
    others = 100.0 * inputs(rows, members, widths[0]).flip(0)
    others[rows // 3] = values[rows // 3]
    for count in (1, 2, 3):
        with threads(count):
            again = packed(layers, values[order], "silu")
            beside = packed(layers, others, "silu")
        assert again is not None
        assert beside is not None
        assert torch.equal(again, together[order])
        assert torch.equal(beside[rows // 3], together[rows // 3])


@fused_here
def test_other_weights_are_packed_anew() -> None:
    layers, values = random_layers(5, (8, 24, 16)), inputs(40, 5, 8)
    packed = FusedLayers()
    before = packed(layers, values, "silu")
    assert before is not None
    kept = packed._packed
    assert torch.equal(fused(layers, values), before)
    packed(layers, values, "silu")
    assert packed._packed is kept
    layers[1][0].mul_(2.0)
    in_place = packed(layers, values, "silu")
    assert in_place is not None
    assert torch.equal(in_place, fused(layers, values))
    assert not torch.equal(in_place, before)
    layers[1] = (0.5 * layers[1][0], layers[1][1])
    exchanged = packed(layers, values, "silu")
    assert exchanged is not None
    assert torch.equal(exchanged, before)
    for copied in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert copied._packed is None
        assert torch.equal(copied(layers, values, "silu"), before)


@fused_here
def test_in_inference_mode() -> None:
    with torch.inference_mode():
        layers, values = random_layers(5, (8, 24, 16)), inputs(40, 5, 8)
        packed = FusedLayers()
        first = packed(layers, values, "silu")
        second = packed(layers, values, "silu")
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def _refuse(*_: Any) -> None:
    raise RuntimeError("could not create a primitive descriptor")


def _operators(name: str) -> SimpleNamespace:
    real = torch.ops.mkldnn
    here = ("_reorder_convolution_weight", "_convolution_pointwise")
    operators = SimpleNamespace(**{each: getattr(real, each, None) for each in here})
    setattr(operators, name, SimpleNamespace(default=_refuse))
    return operators


@pytest.mark.parametrize("which", ["none", "_reorder_convolution_weight", "_convolution_pointwise"])
def test_where_operators_are_missing_or_refuse(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    operators = SimpleNamespace() if which == "none" else _operators(which)
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    assert FusedLayers()(random_layers(5, (8, 16)), inputs(40, 5, 8), "silu") is None


@fused_here
@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(activation: str, bad: float) -> None:
    layers, values = random_layers(3, (8, 16, 16, 8)), inputs(10, 3, 8)
    plain = fused(layers, values, activation)
    values[4, 1, 2] = bad
    found = fused(layers, values, activation)
    assert torch.isnan(found[4, 1]).all()
    found[4, 1] = plain[4, 1]
    assert torch.equal(found, plain)
    layers[1][0][0, 0, 0] = bad
    assert FusedLayers()(layers, values, activation) is None


@fused_here
def test_operators_that_do_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.ops.mkldnn._convolution_pointwise.default
    operators = _operators("_convolution_pointwise")
    operators._convolution_pointwise.default = lambda *given: 1.01 * real(*given)
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    assert FusedLayers()(random_layers(5, (8, 16)), inputs(40, 5, 8), "silu") is None


def test_where_the_processor_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert FusedLayers()(random_layers(5, (8, 16)), inputs(40, 5, 8), "silu") is None


def test_weights_that_need_a_gradient_are_left_alone() -> None:
    layers = random_layers(5, (8, 16))
    layers[0][1].requires_grad_()
    assert FusedLayers()(layers, inputs(40, 5, 8), "silu") is None


def test_only_numbers_alone_may_be_fused() -> None:
    values = inputs(4, 2, 8)
    assert may_fuse(values)
    assert not may_fuse(values.double())
    assert not may_fuse(values.to("meta"))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not may_fuse(values)
    needing = values.clone().requires_grad_()
    assert not may_fuse(needing)
    with torch.no_grad():
        assert may_fuse(needing)
        with forward_ad.dual_level():
            assert may_fuse(values)
            assert not may_fuse(forward_ad.make_dual(values, torch.ones_like(values)))
        asked: list[bool] = []
        torch.func.vjp(lambda v: (asked.append(may_fuse(v)), v)[1], values)
        torch.func.jvp(lambda v: (asked.append(may_fuse(v)), v)[1], (values,), (values,))
        torch.func.vmap(lambda v: (asked.append(may_fuse(v)), v)[1])(values)
        assert asked == [False] * 3


@fused_here
def test_torchs_default_dtype_changes_nothing() -> None:
    layers, values = random_layers(5, (8, 24, 16)), inputs(40, 5, 8)
    plain = fused(layers, values)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = fused(layers, values)
    finally:
        torch.set_default_dtype(default)
    assert torch.equal(found, plain)
