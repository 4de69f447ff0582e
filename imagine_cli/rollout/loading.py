"""What the commands that imagine load: a world model for an env, and a device."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.checkpoint import check_env, checkpoint_files, load_world_model
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.files.digest import sha256_of

if TYPE_CHECKING:
    from imagine_cli.propagation import Propagation

__all__ = ["device_named", "load_for", "propagated"]


def load_for(
    model: str | Path | torch.nn.Module,
    description: EnvDescription,
    trust_pickle: bool,
    device: torch.device,
    compiled: bool = False,
    dtype: str | None = None,
) -> tuple[Any, str, str]:
    """The model, its path and its SHA-256 (empty for a model that is no file).

    A model that is given is left as it is: where it has to change, a copy does.
    """
    from imagine_cli.world_models import WorldModel

    if dtype not in (None, "float32", "float64"):
        raise InputError(f"--dtype {dtype!r} is not float32 or float64")
    path, digest = "", ""
    loaded: Any
    if isinstance(model, (str, Path)):
        loaded = load_world_model(
            model, trust_pickle=trust_pickle, device=device, check=check_env(description)
        )
        path, digest = str(model), sha256_of(*checkpoint_files(model))
    elif compiled or dtype is not None or _is_elsewhere(model, device):
        loaded = deepcopy(model).to(device)
    else:
        loaded = model
    if dtype is not None:
        if isinstance(loaded, WorldModel):
            loaded.dtype = getattr(torch, dtype)
        else:
            loaded = loaded.to(getattr(torch, dtype))
    if compiled and isinstance(loaded, WorldModel):
        loaded.compile()
    return loaded, path, digest


def _is_elsewhere(model: torch.nn.Module, device: torch.device) -> bool:
    return any(part.device != device for part in (*model.parameters(), *model.buffers()))


def device_named(name: str) -> torch.device:
    """The torch device of that name, once it is known to work. Raises InputError."""
    try:
        device = torch.device(name)
    except Exception as error:  # torch lists every name that it ever had
        raise InputError(
            f"--device {name!r} can't be used: torch has no device of that name; cpu and cuda are "
            "usual ones"
        ) from error
    try:
        torch.zeros(1, device=device).item()  # which a device without numbers refuses
    except Exception as error:  # torch raises several kinds
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(f"--device {name!r} can't be used: {reason}") from error
    return device


def propagated(
    model: Any,
    asked: str | Propagation | None,
    parameters: dict[str, Any],
    description: EnvDescription,
) -> tuple[Any, Propagation | None]:
    """The model and the propagation asked for; None for a module that is left to be its own.

    ``parameters`` are of the propagation. Raises InputError where they don't fit.
    """
    from imagine_cli.propagation import make_propagation
    from imagine_cli.world_models import WorldModel
    from imagine_cli.world_models.module import ModuleWorldModel

    if not isinstance(model, WorldModel):
        if asked is None and not any(parameters.values()):
            return model, None
        sizes = (description.observation_size, description.action_size)
        model = ModuleWorldModel(model, *sizes)
    return model, make_propagation(asked, model, **parameters)
