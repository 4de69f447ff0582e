"""``imagine inspect --json`` of a rollout.

::

    {"kind": "rollout", "file": str, "bytes": int,
     "format_version": int, "complete": bool or null,
     "provenance": {"created", "command", "env_id", "env_kwargs", "policy", "propagation", "seed",
                    "model_path", "model_sha256", "model_kind", "versions": {...},
                    "extra": {...}},
     "shape": {"trajectories": B, "steps": T, "observation_size": D, "action_size": F or null,
               "particles": P or null, "dtype": str, "datasets": {name: shape}},
     "trajectory": K or null for all of them,
     "observation": [{"name", "low", "high", "at": [{"step", "mean", "sd"}, ...],
                      "course": [{"first_step", "last_step", "mean", "sd"}, ...]}, ...],
     "reward": null or {"at": [...], "course": [...]}, where sd is null without reward/var,
     "return": null or {"mean", "sd", "min", "max"} over trajectories, of a real run "each": (B,),
     "length": the same of their steps,
     "alike": bool, whether several trajectories all end at the same mean,
     "step": only with --step: {"step", "mean": (D,), "sd": (D,), "covariance": (D, D),
              "correlation": (D, D), "action": null or {"names", "mean", "sd": (F,) or null},
              "reward": null or {"mean", "sd"}},
     "warnings": [{"kind", "message"}, ...]}

Without a trajectory, a mean is the mean of the trajectories' means and a standard deviation (sd)
the root mean square of theirs. A stretch of the course averages its steps in the same way. What
is not finite, and what the file does not say, is null. ``kind`` of a warning is one of incomplete,
missing, header, not-finite, not-psd, outside, exploding. Keys may be added, none goes away.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.cli.inspect_step import read_step

if TYPE_CHECKING:
    from imagine_cli.inspection.statistics import Course, Statistics
    from imagine_cli.recording.reader import Rollout


def as_json(document: dict[str, Any]) -> str:
    """Strict JSON, in ASCII, so that any pipeline takes it."""
    return json.dumps(plain(document), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Lists, dicts and numbers; what is not finite becomes None, what JSON hasn't a string."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


_PROVENANCE = (
    *("created", "command", "env_id", "env_kwargs", "policy", "propagation", "seed"),
    *("model_path", "model_sha256", "model_kind", "versions", "extra"),
)


def rollout_document(rollout: Rollout, stats: Statistics, step: int | None) -> dict[str, Any]:
    """See the head of this file."""
    document: dict[str, Any] = {
        "kind": "rollout",
        "file": str(rollout.path),
        "bytes": rollout.stored_bytes,
        "format_version": rollout.format_version,
        "complete": rollout.complete,
        "provenance": {name: getattr(rollout, name) for name in _PROVENANCE},
        "shape": {
            "trajectories": rollout.trajectories,
            "steps": rollout.steps,
            "observation_size": rollout.observation_size,
            "action_size": rollout.action_size,
            "particles": rollout.particle_count,
            "dtype": rollout.dtype.name,
            "datasets": rollout.datasets,
        },
        "trajectory": stats.trajectory,
        "observation": [
            {
                "name": name,
                "low": rollout.observation_low[d],
                "high": rollout.observation_high[d],
                **_course(stats.observation, d),
            }
            for d, name in enumerate(rollout.observation_names)
        ],
        "reward": None if stats.reward is None else _course(stats.reward, 0),
        "return": None if stats.returns is None else _spread(stats.returns),
        "length": _spread(stats.lengths),
        "alike": stats.alike,
    }
    if rollout.attributes.get("real"):
        for name, values in (("return", stats.returns), ("length", stats.lengths)):
            if values is not None:
                document[name]["each"] = values
    if step is not None:
        found = read_step(rollout, stats.trajectory, step)
        document["step"] = {
            "step": step,
            **found.observation._asdict(),
            "covariance": found.covariance,
            "correlation": found.correlation,
            "action": found.action and {"names": rollout.action_names, **found.action._asdict()},
            "reward": found.reward and found.reward._asdict(),
        }
    document["warnings"] = [finding._asdict() for finding in stats.warnings]
    return document


def _spread(values: np.ndarray) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "min": values.min(),
        "max": values.max(),
    }


def _course(course: Course, k: int) -> dict[str, Any]:
    def moments(i: int, mean: np.ndarray, sd: np.ndarray | None) -> dict[str, Any]:
        return {"mean": mean[i, k], "sd": None if sd is None else sd[i, k]}

    return {
        "at": [
            {"step": step, **moments(i, course.mean, course.sd)}
            for i, step in enumerate(course.steps)
        ],
        "course": [
            {
                "first_step": first,
                "last_step": following - 1,
                **moments(i, course.course_mean, course.course_sd),
            }
            for i, (first, following) in enumerate(pairwise(course.edges))
        ],
    }
