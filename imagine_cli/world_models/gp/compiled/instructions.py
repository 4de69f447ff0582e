"""Operations of the processor that Python has no word for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["bits_of", "dot", "fma", "number_of"]

_VECTOR = ir.VectorType(ir.DoubleType(), 8)
_INDEX = ir.IntType(64)
_SUMS = 4


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing: Any, number: Any) -> Any:
    """The 64 bits of a float64, as an integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def number_of(typing: Any, bits: Any) -> Any:
    """The float64 that has these 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


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
    bits everywhere.
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
