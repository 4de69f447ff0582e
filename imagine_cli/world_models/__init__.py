"""The kinds of world model: one file each, one line here each."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.world_models.base import WorldModel as WorldModel
    from imagine_cli.world_models.belief_module import BeliefModule as BeliefModule
    from imagine_cli.world_models.belief_module import as_world_model as as_world_model
    from imagine_cli.world_models.ensemble import EnsembleWorldModel as EnsembleWorldModel
    from imagine_cli.world_models.exported import ExportedWorldModel as ExportedWorldModel
    from imagine_cli.world_models.gp.exact import (
        GaussianProcessWorldModel as GaussianProcessWorldModel,
    )
    from imagine_cli.world_models.gp.sparse import SparseGPWorldModel as SparseGPWorldModel
    from imagine_cli.world_models.interfaces import Conditional as Conditional
    from imagine_cli.world_models.interfaces import Prediction as Prediction
    from imagine_cli.world_models.interfaces import SupportsMoments as SupportsMoments
    from imagine_cli.world_models.interfaces import SupportsPoints as SupportsPoints
    from imagine_cli.world_models.linear_gaussian import (
        LinearGaussianWorldModel as LinearGaussianWorldModel,
    )
    from imagine_cli.world_models.module import ModuleWorldModel as ModuleWorldModel

_KINDS = {
    "gp": "imagine_cli.world_models.gp.exact:GaussianProcessWorldModel",
    "sparse-gp": "imagine_cli.world_models.gp.sparse:SparseGPWorldModel",
    "ensemble": "imagine_cli.world_models.ensemble:EnsembleWorldModel",
    "exported": "imagine_cli.world_models.exported:ExportedWorldModel",
    "linear": "imagine_cli.world_models.linear_gaussian:LinearGaussianWorldModel",
}

_HOME = {
    "BeliefModule": "imagine_cli.world_models.belief_module",
    "Conditional": "imagine_cli.world_models.interfaces",
    "EnsembleWorldModel": "imagine_cli.world_models.ensemble",
    "ExportedWorldModel": "imagine_cli.world_models.exported",
    "GaussianProcessWorldModel": "imagine_cli.world_models.gp.exact",
    "LinearGaussianWorldModel": "imagine_cli.world_models.linear_gaussian",
    "ModuleWorldModel": "imagine_cli.world_models.module",
    "Prediction": "imagine_cli.world_models.interfaces",
    "SparseGPWorldModel": "imagine_cli.world_models.gp.sparse",
    "SupportsMoments": "imagine_cli.world_models.interfaces",
    "SupportsPoints": "imagine_cli.world_models.interfaces",
    "WorldModel": "imagine_cli.world_models.base",
    "as_world_model": "imagine_cli.world_models.belief_module",
}

__all__ = [
    "BeliefModule",
    "Conditional",
    "EnsembleWorldModel",
    "ExportedWorldModel",
    "GaussianProcessWorldModel",
    "LinearGaussianWorldModel",
    "ModuleWorldModel",
    "Prediction",
    "SparseGPWorldModel",
    "SupportsMoments",
    "SupportsPoints",
    "WorldModel",
    "as_world_model",
    "kind_named",
    "kinds",
]


def kinds() -> dict[str, str]:
    """Every kind's name and where it is, ``module:class``; other packages' are included.

    Another package adds one with an entry point in the group ``imagine_cli.world_models``.
    """
    found = {point.name: point.value for point in entry_points(group="imagine_cli.world_models")}
    return {**found, **_KINDS}


def kind_named(name: str) -> type[WorldModel]:
    """The class of a kind; InputError for one that nobody has."""
    known = kinds()
    if name not in known:
        raise InputError(f"no kind of world model {name!r}; there is {', '.join(sorted(known))}")
    module, _, attribute = known[name].partition(":")
    found: type[WorldModel] = getattr(import_module(module), attribute)
    return found


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
