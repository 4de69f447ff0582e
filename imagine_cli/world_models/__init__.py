"""The kinds of world model, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

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

_HOME = {
    "BeliefModule": "belief_module",
    "Conditional": "interfaces",
    "EnsembleWorldModel": "ensemble",
    "ExportedWorldModel": "exported",
    "GaussianProcessWorldModel": "gp.exact",
    "LinearGaussianWorldModel": "linear_gaussian",
    "ModuleWorldModel": "module",
    "Prediction": "interfaces",
    "SparseGPWorldModel": "gp.sparse",
    "SupportsMoments": "interfaces",
    "SupportsPoints": "interfaces",
    "WorldModel": "base",
    "as_world_model": "belief_module",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
