"""mbrl-lib's model folders, read as they are: ``model.pth``, ``env_stats.pickle``, the config.

``OneDTransitionRewardModel.save`` of a ``GaussianMLP`` or a ``BasicEnsemble`` of them writes the
first two (Pineda et al. 2021); Hydra leaves ``.hydra/config.yaml`` in the folder of a run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.checkpoint.format import Checkpoint
from imagine_cli.checkpoint.mbrl_config import Told, config_path, read_config
from imagine_cli.checkpoint.pickled_arrays import read_arrays
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.files.inside import check_inside

_MODEL, _STATISTICS = "model.pth", "env_stats.pickle"

_FLAGS = {
    "activation": "--activation",
    "learned_rewards": "--learned-rewards or --no-learned-rewards",
    "target_is_delta": "--target-is-delta or --no-target-is-delta",
}


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with a model of mbrl-lib."""
    return path.is_dir() and (path / _MODEL).is_file()


def files(folder: Path) -> list[Path]:
    """What is read of such a folder, of what is there."""
    parts = (folder / _MODEL, folder / _STATISTICS, config_path(folder))
    return [path for path in parts if path.is_file()]


def read_folder(folder: Path, told: Told | None = None) -> Checkpoint:
    """Our ensemble with the same weights, elites, bounds and normaliser, in the same precision.

    Args:
        folder: what ``OneDTransitionRewardModel.save`` wrote to.
        told: what overrides the folder's config, or stands in for it.

    Raises:
        InputError: files that are damaged, hold code, or don't say all that is needed.
    """
    for path in files(folder):
        check_inside(path, folder)
    weights = plain_data.read(
        folder / _MODEL, "model", instead="save the model again with mbrl-lib's own save"
    )
    facts = (told or Told()).over(read_config(folder))
    missing = [flag for name, flag in _FLAGS.items() if getattr(facts, name) is None]
    if missing:
        raise InputError(
            f"{folder} has no .hydra/config.yaml that says all about its model; say the rest to "
            f"imagine convert {folder} -o wm.pt {', '.join(missing)}"
        )
    state, elites = _split(weights, folder)
    plain_data.check_tensors(state, folder / _MODEL, "model")
    members = _members(state, folder)
    made = _stacked(members, folder)
    deterministic = "min_logvar" not in made
    count, inputs = made["weight0"].shape[0], made["weight0"].shape[1]
    outputs = made[f"bias{_depth(made)}"].shape[-1] // (1 if deterministic else 2)
    made |= _normaliser(folder, facts, inputs, made["weight0"].dtype)
    made["target_mean"] = made["weight0"].new_zeros(outputs)
    made["target_scale"] = made["weight0"].new_ones(outputs)
    chosen = range(count) if elites is None else elites
    made["elites"] = torch.tensor(list(chosen), dtype=torch.int64)
    size = outputs - bool(facts.learned_rewards)
    absolute = sorted(facts.no_delta or ()) if facts.target_is_delta else list(range(size))
    config: dict[str, Any] = {
        "reward": bool(facts.learned_rewards),
        "activation": facts.activation,
        "dtype": str(made["input_mean"].dtype).removeprefix("torch."),
        **({"absolute": absolute} if absolute else {}),
        **({"deterministic": True} if deterministic else {}),
    }
    metadata = {"library": "mbrl-lib", **dict(facts.notes)}
    return Checkpoint("ensemble", config, made, metadata=metadata, source="mbrl-lib")


def _split(weights: Any, folder: Path) -> tuple[dict[str, Tensor], list[int] | None]:
    """The state dict, and the elites where the file keeps any."""
    elites = None
    if isinstance(weights, dict) and set(weights) == {"state_dict", "elite_models"}:
        weights, elites = weights["state_dict"], weights["elite_models"]
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{folder / _MODEL} holds no state dict of mbrl-lib")
    if elites is not None and not all(type(k) is int for k in elites):
        raise InputError(f"the elite_models in {folder / _MODEL} are not whole numbers: {elites}")
    return dict(weights), elites


def _members(state: dict[str, Tensor], folder: Path) -> list[dict[str, Tensor]]:
    """One state dict for a GaussianMLP, one for each member of a BasicEnsemble."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        member, rest = re.fullmatch(r"(?:members\.(\d+)\.)?(.*)", name).groups()  # type: ignore[union-attr]
        found.setdefault(int(member or 0), {})[rest] = value
    if sorted(found) != list(range(len(found))):
        raise InputError(f"{folder / _MODEL} has members {sorted(found)}, not 0 and up")
    return [found[k] for k in sorted(found)]


def _stacked(members: list[dict[str, Tensor]], folder: Path) -> dict[str, Tensor]:
    """All members' weights, biases and bounds under our names."""
    first = members[0]
    depth = sum(bool(re.fullmatch(r"hidden_layers\.\d+\.0\.weight", name)) for name in first)
    theirs = [f"hidden_layers.{k}.0" for k in range(depth)] + ["mean_and_logvar"]
    names = {f"{layer}.{part}" for layer in theirs for part in ("weight", "bias")}
    bounds = {"min_logvar", "max_logvar"} & set(first)
    if any(set(member) != names | bounds for member in members) or len(bounds) == 1:
        raise InputError(
            f"{folder / _MODEL} is no GaussianMLP of mbrl-lib, nor a BasicEnsemble of them: its "
            f"state has {', '.join(sorted(first)[:12])}"
        )
    try:
        made = {}
        for k, layer in enumerate(theirs):
            made[f"weight{k}"] = torch.cat([m[f"{layer}.weight"] for m in members])
            made[f"bias{k}"] = torch.cat([m[f"{layer}.bias"].squeeze(1) for m in members])
        rows = {name: torch.cat([m[name] for m in members]) for name in sorted(bounds)}
        same = all(bool((each == each[0]).all()) for each in rows.values())
        made |= {name: each[0].clone() if same else each for name, each in rows.items()}
    except (RuntimeError, IndexError) as error:
        raise InputError(f"the parts of {folder / _MODEL} don't fit together: {error}") from error
    if made["weight0"].ndim != 3 or made["bias0"].ndim != 2:
        raise InputError(f"the weights in {folder / _MODEL} are not (M, in, out)")
    return made


def _depth(made: dict[str, Tensor]) -> int:
    return sum(name.startswith("weight") for name in made) - 1


def _normaliser(folder: Path, facts: Told, inputs: int, dtype: torch.dtype) -> dict[str, Tensor]:
    path = folder / _STATISTICS
    normalised = path.is_file() if facts.normalize is None else facts.normalize
    if not normalised:
        zeros = torch.zeros(inputs, dtype=dtype)
        return {"input_mean": zeros, "input_scale": zeros + 1.0}
    if not path.is_file():
        raise InputError(f"the config in {folder} says normalize, and there is no {_STATISTICS}")
    arrays = read_arrays(path)
    made = {}
    for name, key in (("input_mean", "mean"), ("input_scale", "std")):
        value = arrays.get(key)
        if not isinstance(value, np.ndarray) or value.size != inputs:
            raise InputError(f"{path} has no {key!r} of {inputs} numbers, one for each input")
        exact = torch.float64 if value.dtype == np.float64 else dtype
        made[name] = torch.from_numpy(value.copy()).reshape(-1).to(exact)
    return made
