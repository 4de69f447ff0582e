"""Whether an ensemble can be made of what a checkpoint holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.process_noise import check_process_noise

SCALES = ("input_mean", "input_scale", "target_mean", "target_scale")
BOUNDS = ("min_logvar", "max_logvar")


def check_state(state: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Raises InputError where an ensemble can't be made of these."""
    reward, deterministic = config["reward"], config.get("deterministic", False)
    layers = sum(name.startswith("weight") for name in state)
    needed = {f"{name}{k}" for name in ("weight", "bias") for k in range(layers)}
    bounds = () if deterministic else BOUNDS
    needed |= {*SCALES, *bounds, "elites"}
    if layers < 1 or set(state) != needed:
        raise InputError(
            f"an ensemble needs {', '.join(sorted(needed | {'weight0', 'bias0'}))} in its "
            f"state_dict, and there is {', '.join(sorted(state)) or 'nothing'}"
        )
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in state.items())
    first = state["weight0"]
    if first.ndim != 3 or 0 in first.shape:
        raise InputError(f"the weights of an ensemble must be (M, in, out): {shapes}")
    members, width = first.shape[0], first.shape[1]
    outputs = state["target_mean"].numel()
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(SCALES[:2], (width,))
    expected |= dict.fromkeys((*SCALES[2:], *bounds), (outputs,))
    if any(state[name].ndim == 2 for name in bounds):  # bounds of each network's own
        expected |= dict.fromkeys(bounds, (members, outputs))
    for k in range(layers):
        last = outputs if deterministic else 2 * outputs
        out = last if k == layers - 1 else state[f"weight{k}"].shape[-1]
        expected[f"weight{k}"], expected[f"bias{k}"] = (members, width, out), (members, out)
        width = out
    wrong = [name for name, shape in expected.items() if tuple(state[name].shape) != shape]
    size = outputs - reward
    if wrong or size < 1 or first.shape[1] < size:
        raise InputError(
            f"the parts of an ensemble don't fit together ({', '.join(wrong)}): {shapes}"
        )
    for name, value in state.items():
        wider = name in SCALES[:2] and value.dtype == torch.float64
        if name != "elites" and value.dtype != first.dtype and not wider:
            raise InputError(f"the {name} of an ensemble is {value.dtype}, not {first.dtype}")
        if not torch.isfinite(value).all():
            raise InputError(f"the {name} of an ensemble is not finite everywhere")
    for name in ("input_scale", "target_scale"):
        if not (state[name] > 0).all():
            raise InputError(f"the {name} of an ensemble must be positive")
    elites = state["elites"]
    whole = elites.dtype == torch.int64 and elites.ndim == 1
    if not whole or not 0 < len(set(elites.tolist())) == len(elites):
        raise InputError(
            f"the elites of an ensemble must be different whole numbers: {elites.tolist()}"
        )
    if elites.min() < 0 or elites.max() >= members:
        raise InputError(
            f"the elites {elites.tolist()} of an ensemble are not all among its {members} members"
        )
    absolute = config.get("absolute", [])
    if not isinstance(absolute, list) or not set(absolute) <= set(range(size)):
        raise InputError(
            f"the absolute dimensions {absolute} of an ensemble are not all among its {size}"
        )
    noise = config.get("process_noise", [])
    if not isinstance(noise, list):
        raise InputError(f"the process_noise of an ensemble is {noise}, not a list")
    check_process_noise(noise, size, first.dtype, deterministic=deterministic)
