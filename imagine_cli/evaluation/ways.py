"""Which propagations go through which models of an evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.evaluation.imagining import LoadedModel
    from imagine_cli.propagation import Propagation

__all__ = ["Way", "find_ways"]


class Way(NamedTuple):
    """One row of the ranking: a model and a propagation, None for a module that is its own."""

    model: LoadedModel
    propagation: Propagation | None


def find_ways(
    models: Sequence[LoadedModel],
    about: EnvDescription,
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
    from imagine_cli.rollout.loading import propagated
    from imagine_cli.world_models.interfaces import member_count

    given = {"particles": particles, "members": members, "resample": resample or None}
    some = any(member_count(model.module) > 1 for model in models)
    found: dict[int, list[Way]] = {k: [] for k in range(len(models))}
    for name in dict.fromkeys(asked):
        parameters = given if name == "particles" or "particles" not in asked else {}
        misfits: list[tuple[LoadedModel, InputError]] = []
        for k, model in enumerate(models):
            drop = some and member_count(model.module) == 1
            mine = {**parameters, "members": None} if drop and parameters else parameters
            try:
                module, used = propagated(model.module, name, mine, about)
            except InputError as error:
                misfits.append((model, error))
            else:
                if used not in [way.propagation for way in found[k]]:
                    found[k].append(Way(replace(model, module=module), used))
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
