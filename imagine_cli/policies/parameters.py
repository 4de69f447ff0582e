"""The parameters of a policy that is named with some: ``icem:horizon=30,elites=8``."""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from imagine_cli.errors import InputError

_Parameters = TypeVar("_Parameters")


def number(default: float, least: float, most: float = math.inf) -> Any:
    """A field of a dataclass of parameters: a whole number if its default is one, and its range."""
    return field(default=default, metadata={"least": least, "most": most})


def one_of(default: str, *others: str) -> Any:
    """A field that is one of some words."""
    return field(default=default, metadata={"words": (default, *others)})


def read_parameters(name: str, argument: str, kind: type[_Parameters]) -> _Parameters:
    """``key=value,key=value`` as an instance of the dataclass ``kind``.

    Args:
        name: of the policy, for what an error says.
        argument: what follows the name.
        kind: whose fields are made by :func:`number` and :func:`one_of`.

    Raises:
        InputError: another key, one twice, or a value that a parameter can't have.
    """
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for part in filter(None, argument.split(",")):
        key, _, text = (piece.strip() for piece in part.partition("="))
        where = f"policy '{name}:{argument}'"
        if key not in known:
            there = ", ".join(f"{each.name}={each.default}" for each in known.values())
            raise InputError(f"{where}: no parameter {key!r}; there is {there}")
        if key in found:
            raise InputError(f"{where} gives {key} twice")
        try:
            found[key] = _value(text, known[key])
        except ValueError as error:
            raise InputError(f"{where}: {key} is {text!r}; {error}") from None
    return kind(**found)


def _value(text: str, into: Field[Any]) -> Any:
    assert into.default is not MISSING
    allowed = into.metadata
    if "words" in allowed:
        if text not in allowed["words"]:
            raise ValueError(f"it is {' or '.join(allowed['words'])}")
        return text
    least, most, whole = allowed["least"], allowed["most"], isinstance(into.default, int)
    bounds = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
    complaint = ValueError(f"it must be a {'whole ' if whole else ''}number, {bounds}")
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise complaint from None
    if not least <= value <= most or value == math.inf:
        raise complaint
    return value
