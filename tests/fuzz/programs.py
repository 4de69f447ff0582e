"""Programs that call operators with what they may not expect."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

__all__ = ["with_calls"]

Random = random.Random

_SIZES = (0, 1, 2, 3, 4, 7, 32, 33, -1, -2, 64, 1000, 10**5, 10**7, 10**9, 2**31, 2**53, 2**62,
          2**63 - 1, -(2**63))  # fmt: skip
_NUMBERS = (0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, float("inf"), float("nan"))
_SMALL = (0, 1, 2, 3, -1)
_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64",
           "uint8", "bool")  # fmt: skip


def with_calls(rng: Random, whole: bytes) -> bytes:
    """The exported world model ``whole``, whose program makes some more calls."""
    data = torch.load(io.BytesIO(whole), weights_only=True)
    program = data["config"]["program"]
    steps: list[Any] = program["steps"]
    names = ["observation", "action", *data["state_dict"]]
    at = rng.randrange(len(steps) + 1)
    names += [step[3] for step in steps[:at]]
    growing = rng.random() < 0.4
    for k in range(rng.choice((1, 2, 3, 5, 10, 40) if growing else (1, 1, 1, 2, 3))):
        if growing and rng.random() < 0.95:
            step = _grown(rng, names[-1], rng.choice(names), f"new{k}")
        else:
            step = _call(rng, *rng.choice(_operators()), names, f"new{k}")
        steps.insert(at, step)
        at += 1
        names += step[3] if isinstance(step[3], list) else [step[3]]
    if at < len(steps) and rng.random() < 0.5:
        steps[at][1] = [_swapped(rng, each, names[-1]) for each in steps[at][1]]
    stream = io.BytesIO()
    torch.save(data, stream)
    return stream.getvalue()


def _grown(rng: Random, last: str, other: str, output: str) -> list[Any]:
    """A call that works on any matrix, ``last``, and may give more than it takes."""
    x, y = {"value": last}, {"value": other}
    many = rng.choice((1, 2, 3, 10, 33, 1000, 10**5, 10**9, 10**18))
    name, arguments = rng.choice(
        [
            ("repeat.default", [x, [1, many]]),
            ("repeat.default", [x, [2, 2]]),
            ("cat.default", [[x] * min(many, 1000), rng.choice((0, 1))]),
            ("constant_pad_nd.default", [x, [0, many]]),
            ("new_zeros.default", [x, [many, 2]]),
            ("eye.default", [many]),
            ("view.default", [x, [1, -1]]),
            ("view.default", [x, [-1, 1]]),
            ("expand.default", [x, [many, -1]]),
            ("mul.Tensor", [x, y]),
            ("add.Tensor", [x, {"value": "observation"}]),
            ("mT.default", [x]),
            ("mm.default", [x, x]),
            ("matmul.default", [x, y]),
            ("contiguous.default", [x]),
            ("cumsum.default", [x, 1]),
            ("acos.default", [x]),
            ("sum.dim_IntList", [x, [0], True]),
            ("_softmax.default", [x, -1, False]),
            ("tile.default", [x, [1, many]]),
            ("roll.default", [x, [1] * min(many, 10**5), [0] * min(many, 10**5)]),
            ("pow.Tensor_Scalar", [x, 3]),
            ("tril.default", [x]),
        ]
    )
    return [f"aten.{name}", arguments, {}, output]


def _swapped(rng: Random, argument: Any, name: str) -> Any:
    return {"value": name} if isinstance(argument, dict) and rng.random() < 0.5 else argument


@lru_cache
def _operators() -> list[tuple[str, Any]]:
    """Names with their schemas, of what programs can call; None for what has no schema."""
    from imagine_cli.errors import InputError
    from imagine_cli.world_models import program

    found: list[tuple[str, Any]] = [
        (f"operator.{name}", None) for name in sorted(program._ARITHMETIC)
    ]
    found += [("aten.sym_size.int", None)] * 3
    for name in sorted(program._OPERATORS):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet else ():
            with contextlib.suppress(InputError):
                program.function_of(f"aten.{name}.{overload}")
                found.append((f"aten.{name}.{overload}", getattr(packet, overload)._schema))
    return found


def _call(rng: Random, name: str, schema: Any, names: list[str], output: str) -> list[Any]:
    if schema is None:
        numbers = [_size(rng, names), _size(rng, names)]
        tensor = {"value": rng.choice(names)}
        given = [tensor, rng.choice(_SMALL)] if name.startswith("aten") else numbers
        return [name, given[: 1 if name == "operator.neg" else 2], {}, output]
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for each in schema.arguments:
        if each.has_default_value() and rng.random() < 0.5:
            if not each.kwarg_only:
                break
            continue
        value = _argument(rng, str(each.real_type), names)
        if each.kwarg_only:
            keywords[each.name] = value
        else:
            arguments.append(value)
    several = "List" in str(schema.returns[0].type) or len(schema.returns) > 1
    return [name, arguments, keywords, [f"{output}_{k}" for k in range(2)] if several else output]


def _argument(rng: Random, kind: str, names: list[str]) -> Any:
    if rng.random() < 0.03:
        kind = rng.choice(("Tensor", "int", "float", "bool", "str", "List[int]", "ScalarType"))
    if kind.startswith("Optional["):
        kind = kind[len("Optional[") : -1]
        if rng.random() < 0.2:
            return None
    if kind.startswith("List["):
        count = rng.choice((0, 1, 1, 2, 2, 3, 4, 65, 3000 if rng.random() < 0.05 else 2))
        return [_argument(rng, kind[5:-1], names) for _ in range(count)]
    made: dict[str, Callable[[], Any]] = {
        "Tensor": lambda: {"value": rng.choice(names)},
        "int": lambda: _size(rng, names),
        "number": lambda: rng.choice((_size(rng, names), rng.choice(_NUMBERS))),
        "float": lambda: rng.choice(_NUMBERS),
        "bool": lambda: rng.random() < 0.5,
        "str": lambda: rng.choice(("none", "floor", "trunc", "tanh", "ij", "x")),
        "ScalarType": lambda: rng.choice(({"dtype": rng.choice(_DTYPES)}, {"dtype": "int64"}, 255)),
        "Device": lambda: {"value": "$device"},
    }
    return made.get(kind, lambda: rng.choice((None, None, None, 3)))()


def _size(rng: Random, names: list[str]) -> Any:
    if rng.random() < 0.1:
        return {"value": rng.choice(names)}
    return rng.choice(_SMALL if rng.random() < 0.7 else _SIZES)
