"""The graph in a ``.pt2`` file as a program (:mod:`imagine_cli.world_models.program`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from imagine_cli.errors import InputError
from imagine_cli.world_models.program import DEVICE, DTYPES, part_of

# torch._export.serde.schema.ScalarType
_SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 12: "bool", 13: "bfloat16",
}  # fmt: skip
_TENSORS = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}
_LITERALS = ("as_int", "as_float", "as_bool", "as_string")
_LISTS = ("as_ints", "as_floats", "as_bools", "as_strings")
_SYMBOLS = ("as_sym_int", "as_sym_float", "as_sym_bool")


def scalar_type(number: Any) -> torch.dtype:
    """The dtype with this number in the file."""
    if number not in _SCALAR_TYPES:
        raise InputError(f"the program has tensors of a type (number {number}) that is not read")
    found: torch.dtype = DTYPES[_SCALAR_TYPES[number]]
    return found


def program_of(
    graph_module: dict[str, Any], inputs: Sequence[str], tensors: set[str]
) -> tuple[dict[str, Any], list[str]]:
    """The program, and which tensor is its ``tensor_0``, ``tensor_1``, ...

    Args:
        graph_module: as the file has it.
        inputs: what its inputs are, in their order: ``"observation"``, ``"action"``.
        tensors: the names of those that the file holds.

    Raises:
        InputError: inputs of another number, or a graph that is more than a list of calls.
    """
    signature, graph = graph_module["signature"], graph_module["graph"]
    names, used = _inputs(signature["input_specs"], inputs, tensors)
    outputs = []
    for spec in signature["output_specs"]:
        ((kind, about),) = spec.items()
        if kind != "user_output":
            raise InputError(f"the program changes something as it runs ({kind})")
        name = about["arg"]["as_tensor"]["name"]
        outputs.append(names.get(name, name))
    steps = [_step(node, names) for node in graph["nodes"]]
    return part_of({"steps": steps}, outputs), used


def _inputs(
    specs: list[Any], inputs: Sequence[str], tensors: set[str]
) -> tuple[dict[str, str], list[str]]:
    """What the graph's names are called here, and the tensors' names in their order."""
    names: dict[str, str] = {}
    used: list[str] = []
    given = list(inputs)
    for spec in specs:
        ((kind, about),) = spec.items()
        if kind in _TENSORS:
            name = about[_TENSORS[kind]]
            if name not in tensors:
                raise InputError(f"the program's {kind} {name!r} is not in the file")
            names[about["arg"]["name"]] = f"tensor_{len(used)}"
            used.append(name)
        elif kind == "user_input" and given:
            names[about["arg"]["as_tensor"]["name"]] = given.pop(0)
        else:
            raise InputError(f"the program has an input that is not declared ({kind})")
    if given:
        raise InputError(f"the program has no input for {given[0]!r}")
    return names, used


def _step(node: dict[str, Any], names: dict[str, str]) -> list[Any]:
    target = node["target"]
    operator = target.removeprefix("torch.ops.")
    if target.startswith("_operator."):
        operator = "operator." + target.removeprefix("_operator.")
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for given in node["inputs"]:
        value = _argument(given["arg"], names)
        # Kind 2 is by keyword; layouts and formats of memory are left to torch.
        if given["kind"] != 2:
            arguments.append(value)
        elif not {"as_layout", "as_memory_format"} & set(given["arg"]):
            keywords[given["name"]] = value
    outputs: list[Any] = []
    for output in node["outputs"]:
        ((kind, about),) = output.items()
        if kind == "as_tensors":
            outputs.append([each["name"] for each in about])
        elif kind == "as_none":
            outputs.append([])
        else:
            outputs.append(about["name"] if kind == "as_tensor" else about["as_name"])
    return [operator, arguments, keywords, outputs[0] if len(outputs) == 1 else outputs]


def _argument(argument: dict[str, Any], names: dict[str, str]) -> Any:
    ((kind, value),) = argument.items()
    if kind == "as_none":
        return None
    if kind in _LITERALS:
        return float(value) if kind == "as_float" else value
    if kind in _LISTS:
        return list(value)
    if kind == "as_tensor":
        return _reference(value["name"], names)
    if kind in ("as_tensors", "as_optional_tensors"):
        return [
            _reference(each["name"], names) if "name" in each else _argument(each, names)
            for each in value
        ]
    if kind in _SYMBOLS:
        return _symbol(value, names)
    if kind in tuple(f"{name}s" for name in _SYMBOLS):
        return [_symbol(each, names) for each in value]
    if kind == "as_scalar_type":
        scalar_type(value)
        return {"dtype": _SCALAR_TYPES[value]}
    if kind == "as_device":
        return {"value": DEVICE}
    if kind in ("as_layout", "as_memory_format"):
        return None
    raise InputError(f"the program calls with {kind}, which is more than numbers and tensors")


def _symbol(value: dict[str, Any], names: dict[str, str]) -> Any:
    ((kind, content),) = value.items()
    return _reference(content, names) if kind == "as_name" else content


def _reference(name: str, names: dict[str, str]) -> dict[str, str]:
    return {"value": names.get(name, name)}
