"""Which propagations go through which models of an evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.evaluation.imagining import LoadedModel
    from imagine_cli.propagation import Propagation

__all__ = ["Way", "find_ways"]


class Way(NamedTuple):
    """One row of the ranking: a model and a propagation, None for a module, which is its own."""

    model: LoadedModel
    propagation: Propagation | None


def find_ways(
    models: Sequence[LoadedModel],
    asked: Sequence[str | Propagation | None],
    *,
    particles: int | None = None,
    members: str | None = None,
    resample: bool = False,
) -> list[Way]:
    """Every model with every propagation that fits it; a remark where one does not.

    ``particles``, ``members`` and ``resample`` are of the propagation ``"particles"`` where that
    is among those asked for. ``members`` says nothing about a model that has none beside one
    that has some.

    Raises:
        InputError: a propagation fits no model, or a model none of the propagations.
    """
    given = {"particles": particles, "members": members, "resample": resample or None}
    some = any(getattr(model.module, "members", 1) > 1 for model in models)
    found: dict[int, list[Way]] = {k: [] for k in range(len(models))}
    for name in dict.fromkeys(asked):
        parameters = given if name == "particles" or "particles" not in asked else {}
        misfits: list[tuple[LoadedModel, InputError]] = []
        for k, model in enumerate(models):
            drop = some and getattr(model.module, "members", 1) == 1
            mine = {**parameters, "members": None} if drop and parameters else parameters
            try:
                way = Way(model, _propagation(model, name, mine))
            except InputError as error:
                misfits.append((model, error))
            else:
                if way not in found[k]:
                    found[k].append(way)
        if len(misfits) == len(models):
            raise misfits[0][1]
        for model, why in misfits:
            warnings.warn(f"{model.name} is left out there: {why}", stacklevel=2)
    for k, model in enumerate(models):
        if not found[k]:
            raise InputError(
                f"none of the propagations asked for fits {model.name}; leave that model out, or "
                "ask for another propagation"
            )
    return [way for ways in found.values() for way in ways]


def _propagation(
    model: LoadedModel, asked: str | Propagation | None, parameters: dict[str, Any]
) -> Propagation | None:
    from imagine_cli.propagation import make_propagation
    from imagine_cli.world_models import WorldModel

    module = model.module
    if isinstance(module, WorldModel):
        return make_propagation(asked, module, **parameters)
    if asked is None and not any(parameters.values()):
        return None
    raise InputError(
        f"a propagation is for the kinds of world model that imagine knows, and a "
        f"{type(module).__name__} propagates beliefs in its own way; leave it out"
    )
