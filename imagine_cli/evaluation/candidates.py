"""The candidates of an evaluation: every model with every propagation that fits it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.propagation import Propagation
    from imagine_cli.request import RolloutRequest
    from imagine_cli.rollout.prepare import LoadedModel


class Candidate(NamedTuple):
    """One row of the ranking: a model, what it is called, and a propagation."""

    name: str
    model: LoadedModel
    propagation: Propagation


def find_candidates(
    models: Mapping[str, LoadedModel],
    about: EnvDescription,
    request: RolloutRequest,
    asked: Sequence[str | Propagation | None],
) -> list[Candidate]:
    """Every model with every propagation that fits it; a remark where one does not.

    The request's parameters are of the propagation ``"particles"`` where that is among those
    asked for. ``members`` says nothing about a model that has none beside one that has some.

    Raises:
        InputError: a propagation fits no model, or a model none of the propagations.
    """
    from imagine_cli.rollout.prepare import make_dynamics

    given = dict(request.parameters)
    some = any(_members(model) > 1 for model in models.values())
    found: dict[str, list[Candidate]] = {name: [] for name in models}
    for propagation in dict.fromkeys(asked):
        parameters = given if propagation == "particles" or "particles" not in asked else {}
        misfits: list[tuple[str, InputError]] = []
        for name, model in models.items():
            mine: dict[str, Any] = dict(parameters)
            if some and _members(model) == 1:
                mine.pop("members", None)
            try:
                dynamics = make_dynamics(
                    model.module, about, replace(request, parameters=mine), propagation
                )
            except InputError as error:
                misfits.append((name, error))
            else:
                if dynamics.propagation not in [other.propagation for other in found[name]]:
                    found[name].append(Candidate(name, model, dynamics.propagation))
        if len(misfits) == len(models):
            raise misfits[0][1]
        for name, why in misfits:
            warnings.warn(f"{name} is left out there: {why}", stacklevel=2)
    for name, candidates in found.items():
        if not candidates:
            raise InputError(
                f"none of the propagations asked for fits {name}; leave that model out, or "
                "ask for another propagation"
            )
    return [candidate for candidates in found.values() for candidate in candidates]


def _members(model: LoadedModel) -> int:
    return int(getattr(model.module, "members", 1))
