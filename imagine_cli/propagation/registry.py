"""From what was asked for to a propagation that suits a world model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagine_cli.errors import InputError
from imagine_cli.propagation.base import Propagation
from imagine_cli.registry import PROPAGATIONS

if TYPE_CHECKING:
    from imagine_cli.world_models.base import WorldModel

__all__ = ["make_propagation"]


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
        InputError: no such propagation, one that the model doesn't allow, or parameters that it
            doesn't have.
    """
    if isinstance(asked, Propagation):
        found = asked
    else:
        name = model.propagation if asked is None else asked
        _check_name(name, model)
        given = {key: value for key, value in parameters.items() if value is not None}
        found = _make(name, given)
    _check_name(found.name, model)
    return found.suited(model)


def _check_name(name: str, model: WorldModel) -> None:
    PROPAGATIONS.check(name)
    if name in PROPAGATIONS.own and name not in model.propagations:
        raise InputError(
            f"propagation {name!r} does not fit a world model of kind {model.kind!r}; use "
            f"{', '.join(model.propagations)}"
        )


def _make(name: str, parameters: dict[str, Any]) -> Propagation:
    factory: type[Propagation] = PROPAGATIONS.load(name)
    known = getattr(factory, "__dataclass_fields__", {})
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        options = " and ".join(f"--{each}" for each in unknown)
        verb = "belong" if len(unknown) > 1 else "belongs"
        raise InputError(
            f"{options} {verb} to another propagation than {name!r}, which is used here; give "
            "--propagation particles"
        )
    return factory(**parameters)
