"""Writing world-model checkpoints: plain data, and never half a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.checkpoint.format import FORMAT, VERSION
from imagine_cli.errors import ImagineError, InputError

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.world_models import WorldModel

__all__ = ["save_world_model"]


def save_world_model(
    model: WorldModel,
    path: str | Path,
    *,
    env: EnvDescription | None = None,
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint that ``torch.load(weights_only=True)`` reads.

    It appears under ``path`` whole or not at all: it is written beside it and renamed.

    Args:
        model: one of ours.
        path: the file.
        env: the env it is a model of.
        metadata: how it was fitted: numbers, strings, lists and dicts of these.
        overwrite: replace a file that is there.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is False, or it is a folder, or its folder
            is missing.
        ImagineError: the disk refused.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"the output {path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give --force (overwrite=True) to replace it")
    if not path.parent.is_dir():
        raise InputError(f"the output folder {path.parent} does not exist; make it first")
    described: dict[str, Any] = {}
    if env is not None:
        described = {
            "id": env.id,
            "kwargs": env.kwargs,
            "observation_names": list(env.observation_names),
            "observation_low": env.observation_low.tolist(),
            "observation_high": env.observation_high.tolist(),
            "choices": list(env.choices),
        }
    data = {
        "format": FORMAT,
        "version": VERSION,
        "kind": model.kind,
        "config": model.config(),
        "state_dict": {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()},
        "env": described,
        "metadata": metadata or {},
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(data, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ImagineError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
