"""What the commands that imagine load: a world model for an env, and a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imagine_cli.checkpoint import check_env, checkpoint_files, load_world_model
from imagine_cli.digest import sha256_of
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError

__all__ = ["device_named", "load_for"]


def load_for(
    model: str | Path | torch.nn.Module,
    description: EnvDescription,
    trust_pickle: bool,
    device: torch.device,
) -> tuple[Any, str, str]:
    """The model, its path and its SHA-256 (empty for a model that is no file)."""
    if not isinstance(model, (str, Path)):
        return model.to(device), "", ""
    loaded = load_world_model(
        model, trust_pickle=trust_pickle, device=device, check=check_env(description)
    )
    return loaded, str(model), sha256_of(*checkpoint_files(model))


def device_named(name: str) -> torch.device:
    """The torch device of that name, once it is known to work. Raises InputError."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises several kinds, some only when a tensor is made
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(f"--device {name!r} can't be used: {reason}") from error
    return device
