"""Operations of the processor that Python has no word for, and sums of vectors by them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from imagine_cli.world_models.gp.compiled.kernel import kernel
from imagine_cli.world_models.gp.compiled.layout import Array

_VECTOR = ir.VectorType(ir.DoubleType(), 8)
_INDEX = ir.IntType(64)
_SUMS = 4


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing: Any, one: Any, other: Any, added: Any) -> Any:
    """``one * other + added``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def dot(typing: Any, one: Any, other: Any) -> Any:
    """``Σ_j one_j other_j`` of two vectors, whose length is a multiple of eight.

    Always in the order of four sums of eight lanes, whatever the processor's vectors are: the same
    bits everywhere, which ``fastmath`` does not give (``python tests/benchmarks/numba_limits.py``).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        )
        sums = [
            cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in range(_SUMS)
        ]
        eights = builder.lshr(cgutils.unpack_tuple(builder, left.shape)[0], ir.Constant(_INDEX, 3))
        rounds = builder.udiv(eights, ir.Constant(_INDEX, _SUMS))

        def add(eight: Any, total: Any) -> None:
            place = builder.shl(eight, ir.Constant(_INDEX, 3))
            a, b = (_load(builder, array.data, place) for array in (left, right))
            builder.store(builder.fadd(builder.load(total), builder.fmul(a, b)), total)

        with cgutils.for_range(builder, rounds) as loop:
            first = builder.mul(loop.index, ir.Constant(_INDEX, _SUMS))
            for k, total in enumerate(sums):
                add(builder.add(first, ir.Constant(_INDEX, k)), total)
        done = builder.mul(rounds, ir.Constant(_INDEX, _SUMS))
        with cgutils.for_range(builder, builder.sub(eights, done)) as loop:
            add(builder.add(done, loop.index), sums[0])
        one, two, three, four = (builder.load(total) for total in sums)
        lanes = builder.fadd(builder.fadd(one, two), builder.fadd(three, four))
        while lanes.type != ir.DoubleType():
            lanes = _halved(builder, lanes)
        return lanes

    return types.float64(one, other), generate


def _load(builder: Any, data: Any, place: Any) -> Any:
    pointer = builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())
    return builder.load(pointer, align=8)


def _halved(builder: Any, lanes: Any) -> Any:
    """The sums of a vector's first half with its second."""
    half = lanes.type.count // 2
    if half == 1:
        parts = [builder.extract_element(lanes, ir.Constant(ir.IntType(32), k)) for k in (0, 1)]
        return builder.fadd(*parts)
    masks = [
        ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(begin, begin + half)))
        for begin in (0, half)
    ]
    return builder.fadd(*(builder.shuffle_vector(lanes, lanes, mask) for mask in masks))


@kernel
def short_sum(one: Array, other: Array) -> float:
    """``Σ_j one_j other_j`` of vectors of any length; see :func:`dot`."""
    total = 0.0
    for j in range(len(one)):
        total += one[j] * other[j]
    return total


@kernel
def add_multiple(scale: float, values: Array, out: Array) -> None:
    """Adds ``scale`` times ``values`` to ``out``."""
    for j in range(len(out)):
        out[j] = fma(scale, values[j], out[j])


@kernel
def add_product(scale: float, one: Array, other: Array, out: Array) -> None:
    """Adds ``scale`` times ``one`` times ``other`` to ``out``."""
    for j in range(len(out)):
        out[j] = fma(scale * one[j], other[j], out[j])
