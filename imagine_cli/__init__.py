"""Imagine with learned world models.

Everything the command line does is one call here. Names load when first used, so that
``import imagine_cli`` stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from imagine_cli.belief import ActionBelief as ActionBelief
    from imagine_cli.belief import Belief as Belief
    from imagine_cli.checkpoint import convert_world_model as convert_world_model
    from imagine_cli.checkpoint import export_world_model as export_world_model
    from imagine_cli.checkpoint import load_world_model as load_world_model
    from imagine_cli.checkpoint import save_world_model as save_world_model
    from imagine_cli.errors import ImagineError as ImagineError
    from imagine_cli.errors import InputError as InputError
    from imagine_cli.evaluation import compare_rollouts as compare_rollouts
    from imagine_cli.evaluation import evaluate_model as evaluate_model
    from imagine_cli.evaluation import rerun_rollout as rerun_rollout
    from imagine_cli.fitting import fit_world_model as fit_world_model
    from imagine_cli.imagined_env import ImaginedEnv as ImaginedEnv
    from imagine_cli.plots.calibration import plot_evaluation as plot_evaluation
    from imagine_cli.plots.plot import plot_rollout as plot_rollout
    from imagine_cli.policies import load_policy as load_policy
    from imagine_cli.recording import Rollout as Rollout
    from imagine_cli.recording import open_rollout as open_rollout
    from imagine_cli.rollout import run_rollout as run_rollout
    from imagine_cli.video.render import render_video as render_video

_HOME = {
    "ActionBelief": "imagine_cli.belief",
    "Belief": "imagine_cli.belief",
    "ImagineError": "imagine_cli.errors",
    "ImaginedEnv": "imagine_cli.imagined_env",
    "InputError": "imagine_cli.errors",
    "Rollout": "imagine_cli.recording",
    "compare_rollouts": "imagine_cli.evaluation",
    "convert_world_model": "imagine_cli.checkpoint",
    "evaluate_model": "imagine_cli.evaluation",
    "export_world_model": "imagine_cli.checkpoint",
    "fit_world_model": "imagine_cli.fitting",
    "load_policy": "imagine_cli.policies",
    "load_world_model": "imagine_cli.checkpoint",
    "open_rollout": "imagine_cli.recording",
    "plot_evaluation": "imagine_cli.plots.calibration",
    "plot_rollout": "imagine_cli.plots.plot",
    "render_video": "imagine_cli.video.render",
    "rerun_rollout": "imagine_cli.evaluation",
    "run_rollout": "imagine_cli.rollout",
    "save_world_model": "imagine_cli.checkpoint",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'imagine_cli' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
