"""Imagine with learned world models.

Everything the command line does is one call here. Names load when first used, so that
``import imagine_cli`` stays free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.gymnasium_envs.register import register_with_gymnasium
from imagine_cli.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from imagine_cli.belief import ActionBelief as ActionBelief
    from imagine_cli.belief import Belief as Belief
    from imagine_cli.checkpoint import convert_world_model as convert_world_model
    from imagine_cli.checkpoint import export_latent_world_model as export_latent_world_model
    from imagine_cli.checkpoint import export_world_model as export_world_model
    from imagine_cli.checkpoint import load_world_model as load_world_model
    from imagine_cli.checkpoint import save_world_model as save_world_model
    from imagine_cli.errors import ImagineError as ImagineError
    from imagine_cli.errors import InputError as InputError
    from imagine_cli.evaluation.compare import compare_rollouts as compare_rollouts
    from imagine_cli.evaluation.evaluate import evaluate_model as evaluate_model
    from imagine_cli.evaluation.play import play_policy as play_policy
    from imagine_cli.evaluation.rerun import rerun_rollout as rerun_rollout
    from imagine_cli.export.policy import export_policy as export_policy
    from imagine_cli.fitting import calibrate_world_model as calibrate_world_model
    from imagine_cli.fitting import fit_world_model as fit_world_model
    from imagine_cli.imagined_env import ImaginedEnv as ImaginedEnv
    from imagine_cli.plots.learning_curve import plot_learning as plot_learning
    from imagine_cli.plots.plot import plot_evaluation as plot_evaluation
    from imagine_cli.plots.plot import plot_rollout as plot_rollout
    from imagine_cli.policies import load_policy as load_policy
    from imagine_cli.recording import Rollout as Rollout
    from imagine_cli.recording import open_rollout as open_rollout
    from imagine_cli.request import RolloutRequest as RolloutRequest
    from imagine_cli.rollout import run_rollout as run_rollout
    from imagine_cli.samples import copy_sample as copy_sample
    from imagine_cli.search.learn import learn_policy as learn_policy
    from imagine_cli.search.optimize import optimize_policy as optimize_policy
    from imagine_cli.video.render import render_video as render_video

_HOME = {
    "ActionBelief": "belief",
    "Belief": "belief",
    "ImagineError": "errors",
    "ImaginedEnv": "imagined_env",
    "InputError": "errors",
    "Rollout": "recording",
    "RolloutRequest": "request",
    "calibrate_world_model": "fitting",
    "compare_rollouts": "evaluation.compare",
    "convert_world_model": "checkpoint",
    "copy_sample": "samples",
    "evaluate_model": "evaluation.evaluate",
    "export_latent_world_model": "checkpoint",
    "export_policy": "export.policy",
    "export_world_model": "checkpoint",
    "fit_world_model": "fitting",
    "learn_policy": "search.learn",
    "load_policy": "policies",
    "load_world_model": "checkpoint",
    "open_rollout": "recording",
    "optimize_policy": "search.optimize",
    "play_policy": "evaluation.play",
    "plot_evaluation": "plots.plot",
    "plot_learning": "plots.learning_curve",
    "plot_rollout": "plots.plot",
    "render_video": "video.render",
    "rerun_rollout": "evaluation.rerun",
    "run_rollout": "rollout",
    "save_world_model": "checkpoint",
}

__all__ = ["__version__", *_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)

register_with_gymnasium()
