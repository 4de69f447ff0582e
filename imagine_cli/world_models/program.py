"""A program of tensor operations as plain data, and running it without compiling anything.

``torch.export`` writes a model as a list of calls of ATen operators. What torch does to load one
can run code in the file in several ways: pickled tensors, constants and example inputs, shape
expressions that are evaluated as Python, guards and names that are pasted into Python, any
function below ``torch`` as a target. Here a program is a list and nothing else: each call names
one of the operators below, which compute values from values, and is made as it stands.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.batch_invariant import PRODUCTS

DTYPES = {
    name: getattr(torch, name)
    for name in ("float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool")
}
DTYPES["int8"], DTYPES["int16"] = torch.int8, torch.int16

DEVICE = "$device"
"""The value that is the device everything is on."""

# Functions of their arguments alone: no files, no random numbers, no memory left uninitialised,
# nothing written to an argument.
_OPERATORS = frozenset(
    """
    abs acos acosh add addcdiv addcmul addmm alias all amax amin any arange argmax argmin asin
    asinh atan atan2 atanh baddbmm bitwise_and bitwise_not bitwise_or bitwise_xor bmm
    broadcast_tensors broadcast_to cat ceil celu chunk clamp clamp_max clamp_min clone column_stack
    concat constant_pad_nd contiguous cos cosh cumprod cumsum deg2rad detach detach_ diag
    diag_embed diagonal diff div dot dropout elu eq erf erfc exp exp2 expand expand_as expm1 eye
    fill flatten flip floor floor_divide fmod frac full full_like gather ge gelu glu gt hardsigmoid
    hardswish hardtanh hypot index index_select layer_norm le leaky_relu lerp lift_fresh_copy linear
    linspace log log10 log1p log2 log_sigmoid log_softmax logaddexp logical_and logical_not
    logical_or logical_xor logsumexp lt masked_fill matmul matrix_H max maximum mean meshgrid min
    minimum mish mm movedim mul mT narrow native_layer_norm ne neg new_full new_ones new_zeros
    norm numpy_T one_hot ones ones_like outer permute pow prod rad2deg reciprocal relu relu6
    remainder repeat reshape rms_norm roll round rsqrt rsub scalar_tensor select selu sigmoid sign
    silu sin sinc sinh slice softmax softplus softshrink softsign split split_with_sizes sqrt square
    squeeze stack sub sum swapaxes t tan tanh tanhshrink threshold tile to to_copy _to_copy
    transpose tril triu true_divide trunc type_as unbind unflatten unsqueeze unsqueeze_ var
    vector_norm linalg_vector_norm view view_as where xlogy zeros zeros_like _softmax _log_softmax
    """.split()  # noqa: SIM905
)
# What torch.export asserts of shapes and dtypes; here they are what they are.
_IGNORED = (
    "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range",
    "sym_constrain_range_for_size",
)  # fmt: skip
_ARITHMETIC = frozenset(
    {"add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge"}
)
_LONGEST = 10_000
_MOST_AXES = 64


def check_program(program: Any, tensors: Sequence[str], inputs: Sequence[str]) -> None:
    """Raises InputError for anything that :func:`run_program` would not run.

    Args:
        program: ``{"steps": [[operator, arguments, keywords, outputs]], "outputs": [name]}``.
            An operator is ``"aten.NAME.OVERLOAD"`` or ``"operator.NAME"``. Arguments are None,
            numbers, strings, ``{"value": name}``, ``{"dtype": name}`` and lists of these. Outputs
            are a name, or a list of names for an operator that returns several values.
        tensors: names of the constants.
        inputs: names of what it is given.
    """
    if not isinstance(program, dict) or not {"steps", "outputs"} <= set(program):
        raise InputError("a program needs steps and outputs")
    steps = program["steps"]
    if not isinstance(steps, list) or len(steps) > _LONGEST:
        raise InputError(f"the steps of a program must be a list of up to {_LONGEST}")
    known = {*tensors, *inputs, DEVICE}
    for k, step in enumerate(steps):
        if not isinstance(step, (list, tuple)) or len(step) != 4:
            raise InputError(f"step {k} of the program is no [operator, arguments, keywords, out]")
        name, arguments, keywords, outputs = step
        function_of(name)
        if not isinstance(arguments, (list, tuple)) or not isinstance(keywords, dict):
            raise InputError(f"step {k} of the program has no arguments")
        for argument in (*arguments, *keywords.values()):
            _check_argument(argument, known, k)
        _check_schema(name, arguments, keywords, k)
        for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
            if not isinstance(output, str) or output in known:
                raise InputError(f"step {k} of the program has an output without a name of its own")
            known.add(output)
    for name in program["outputs"] if isinstance(program["outputs"], list) else [None]:
        if not isinstance(name, str) or name not in known:
            raise InputError(f"the program computes no output {str(name)[:80]!r}")


def part_of(program: dict[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    """The program that computes some of what another does, without the calls that takes none of."""
    needed, steps = set(outputs), []
    for step in reversed(program["steps"]):
        if needed.intersection([step[3]] if isinstance(step[3], str) else step[3]):
            steps.append(step)
            needed.update(_values_in([step[1], *step[2].values()]))
    return {"steps": steps[::-1], "outputs": list(outputs)}


def _values_in(arguments: Any) -> Iterator[str]:
    if isinstance(arguments, (list, tuple)):
        for each in arguments:
            yield from _values_in(each)
    elif isinstance(arguments, dict) and "value" in arguments:
        yield arguments["value"]


def layers_of(
    program: dict[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, tuple[str, str | None]]:
    """Which outputs are linear layers' of constants, and their weights' and biases' names."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, arguments, keywords, output in program["steps"]:
        plain = isinstance(output, str) and not keywords and len(arguments) in (2, 3)
        if name != "aten.linear.default" or not plain:
            continue
        weight: Any
        bias: Any
        names = [arg.get("value") if isinstance(arg, dict) else arg for arg in arguments[1:]]
        weight, bias = (*names, None)[:2]
        given = [each for each in (weight, bias) if each is not None]
        if all(isinstance(each, str) and each in tensors for each in given) and (
            [tensors[each].ndim for each in given] in ([2], [2, 1])
        ):
            found[output] = (weight, bias)
    return found


def run_program(
    program: dict[str, Any],
    tensors: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    call: Callable[[Any, str, list[Any], dict[str, Any]], Any],
) -> list[Tensor]:
    """The outputs of a checked program. Differentiable, also by torch.func.

    Args:
        program: as :func:`check_program` has it.
        tensors: the constants.
        inputs: what it is given.
        call: what a step computes, of its outputs' names, its operator, its arguments and
            keywords: :func:`function_of` its operator, or what gives the same.
    """
    device = next(iter(inputs.values())).device
    values: dict[str, Any] = {**tensors, **inputs, DEVICE: device}
    for name, arguments, keywords, outputs in program["steps"]:
        given = [_argument(argument, values) for argument in arguments]
        named = {key: _argument(value, values) for key, value in keywords.items()}
        found = call(outputs, name, given, named)
        if isinstance(outputs, str):
            values[outputs] = found
        else:
            values.update(zip(outputs, found, strict=False))
    return [values[name] for name in program["outputs"]]


def _check_argument(argument: Any, known: set[str], step: int, depth: int = 0) -> None:
    if argument is None or isinstance(argument, (bool, int, float)):
        return
    if isinstance(argument, str) and re.fullmatch(r"\w{0,32}", argument):
        return
    if isinstance(argument, (list, tuple)) and depth < 3:
        for item in argument:
            _check_argument(item, known, step, depth + 1)
        return
    if isinstance(argument, dict) and len(argument) == 1:
        ((key, name),) = argument.items()
        if isinstance(name, str) and name in {"value": known, "dtype": DTYPES}.get(key, ()):
            return
        if key == "value":
            raise InputError(f"step {step} of the program needs {str(name)[:80]!r} too early")
    raise InputError(f"step {step} of the program has an argument {str(argument)[:80]!r}")


def _check_schema(name: str, arguments: Sequence[Any], keywords: dict[str, Any], step: int) -> None:
    """That dtypes, devices and layouts are such: torch takes any number for one, and crashes."""
    schema = getattr(function_of(name), "_schema", None)
    if schema is None:
        return
    kinds = {each.name: str(each.real_type) for each in schema.arguments}
    if len(arguments) > len(kinds) or not set(keywords) <= set(kinds):
        raise InputError(f"step {step} of the program gives {name} more than it takes")
    for key, value in {**dict(zip(kinds, arguments, strict=False)), **keywords}.items():
        kind = kinds[key]
        if kind.startswith("Optional["):
            kind = kind[len("Optional[") : -1]
        # roll calls itself once for each axis, until the stack is full.
        axes = kind == "List[int]" and not name.startswith("aten.split")
        if axes and isinstance(value, (list, tuple)) and len(value) > _MOST_AXES:
            raise InputError(f"step {step} of the program calls {name} with {len(value)} axes")
        fits = {
            "ScalarType": isinstance(value, dict) and "dtype" in value,
            "Device": value == {"value": DEVICE},
            "Layout": False,
            "MemoryFormat": False,
        }.get(kind, True)
        if value is not None and not fits:
            raise InputError(f"step {step} of the program calls {name} with a {key} that is none")


def _argument(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, dict):
        return values[argument["value"]] if "value" in argument else DTYPES[argument["dtype"]]
    if isinstance(argument, (list, tuple)):
        return [_argument(item, values) for item in argument]
    return argument


_made: dict[str, Callable[..., Any]] = {}


def function_of(name: Any) -> Callable[..., Any]:
    """What a step calls; InputError for all but the operators above."""
    if not isinstance(name, str):
        raise InputError(f"a program calls {str(name)[:80]!r}, which is no operator")
    if name not in _made:
        _made[name] = _found(name)
    return _made[name]


def _found(name: str) -> Callable[..., Any]:
    kind, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    if kind == "operator" and rest in _ARITHMETIC:
        return _of_numbers(getattr(operator, rest))
    if kind == "aten" and name == "aten.sym_size.int":
        return lambda tensor, dim: tensor.shape[dim]
    if kind == "aten" and packet in _IGNORED:
        return lambda *_, **__: ()
    if kind != "aten" or packet not in _OPERATORS or not re.fullmatch(r"\w+", overload):
        random = "rand" in packet or packet.startswith(("normal", "bernoulli", "multinomial"))
        raise InputError(
            f"the program calls {name[:80]!r}, which is none of the operators that are run here"
            + ("; what is random is made of an input, 'noise', of normal numbers" if random else "")
        )
    special: dict[str, Callable[..., Any]] = {
        "detach_": torch.Tensor.detach,
        "dropout": _no_dropout,
        "unsqueeze_": torch.unsqueeze,
        **PRODUCTS,
    }
    if packet in special:
        return special[packet]
    packets: Any = getattr(torch.ops.aten, packet, None)
    function: Callable[..., Any] | None = getattr(packets, overload, None)
    schema = getattr(function, "_schema", None)
    # Of numbers alone they divide by zero, which ends the process.
    computes = any("Tensor" in str(each.type) for each in getattr(schema, "returns", ()))
    if function is None or schema is None or schema.is_mutable or not computes:
        raise InputError(f"the program calls {name[:80]!r}, which this torch doesn't have")
    return function


def _of_numbers(arithmetic: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic of the sizes of tensors: Python's would also repeat lists, and knows no end."""

    def computed(*numbers: Any) -> Any:
        if not all(isinstance(number, (bool, int, float)) for number in numbers):
            raise InputError("the program computes sizes of something that is no number")
        found = arithmetic(*numbers)
        if abs(found) >= 2**63:
            raise InputError("the program computes sizes without bound")
        return found

    return computed


def _no_dropout(x: Tensor, p: float, train: bool) -> Tensor:
    if train:
        raise InputError("the program drops out at random; export the module after its eval()")
    return x
