"""From what was asked for to a propagation that fits a world model."""

from __future__ import annotations

from typing import Any

from imagine_cli.errors import InputError
from imagine_cli.propagation.base import Propagation
from imagine_cli.registry import PROPAGATIONS
from imagine_cli.world_models.base import WorldModel


def fitting(model: WorldModel) -> list[str]:
    """The names of the propagations that fit a world model."""
    return [name for name in PROPAGATIONS if PROPAGATIONS.load(name).fits(model)]


def make_propagation(
    asked: str | Propagation | None, model: WorldModel, **parameters: Any
) -> Propagation:
    """The propagation of a name, for a world model.

    Args:
        asked: a name; None for the model's default; one that is made already, which is checked.
        model: what it is to go through.
        **parameters: of that propagation, such as ``particles``; those that are None are left
            to its defaults.

    Raises:
        InputError: no such propagation, one that does not fit the model, or parameters that it
            doesn't have.
    """
    if isinstance(asked, Propagation):
        _check_fit(asked, model)
        return asked.suited(model)
    name = model.propagation if asked is None else asked
    _check_fit(PROPAGATIONS.load(name), model)
    given = {key: value for key, value in parameters.items() if value is not None}
    return _make(name, given).suited(model)


def _check_fit(propagation: Propagation | type[Propagation], model: WorldModel) -> None:
    if not propagation.fits(model):
        raise InputError(
            f"propagation {propagation.name!r} does not fit a world model of kind "
            f"{model.kind!r}; use {', '.join(fitting(model))}"
        )


def _make(name: str, parameters: dict[str, Any]) -> Propagation:
    made: type[Propagation] = PROPAGATIONS.load(name)
    unknown = sorted(set(parameters) - set(getattr(made, "__dataclass_fields__", {})))
    if unknown:
        options = " and ".join(f"--{each}" for each in unknown)
        verb = "belong" if len(unknown) > 1 else "belongs"
        raise InputError(
            f"{options} {verb} to another propagation than {name!r}, which is used here; give "
            "--propagation particles"
        )
    return made(**parameters)
