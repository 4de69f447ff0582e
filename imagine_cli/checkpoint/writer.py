"""Writing world-model checkpoints: plain data, and never half a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.checkpoint.format import FORMAT, VERSION
from imagine_cli.files import plain_data

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription
    from imagine_cli.world_models import WorldModel


def save_world_model(
    model: WorldModel,
    path: str | Path,
    *,
    env: EnvDescription | dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint that ``torch.load(weights_only=True)`` reads.

    It appears under ``path`` whole or not at all: it is written beside it and renamed.

    Args:
        model: one of ours.
        path: the file.
        env: the env it is a model of, or what another checkpoint says of it.
        metadata: how it was fitted: numbers, strings, lists and dicts of these.
        overwrite: replace a file that is there.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is False, or it is a folder, or its folder
            is missing.
        ImagineError: the disk refused.
    """
    data = {
        "format": FORMAT,
        "version": VERSION,
        "kind": model.kind,
        "config": plain_data.plain(model.config(), "config"),
        "state_dict": {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()},
        "env": described(env),
        "metadata": plain_data.plain(metadata or {}, "metadata"),
    }
    plain_data.write(data, Path(path), "world model", overwrite=overwrite)


def described(env: EnvDescription | dict[str, Any] | None) -> dict[str, Any]:
    """What a checkpoint says of its env: plain data; nothing of no env."""
    if env is None or isinstance(env, dict):
        return dict(plain_data.plain(env or {}, "env"))
    return {
        "id": env.id,
        "kwargs": plain_data.plain(env.kwargs, "the env's arguments"),
        "observation_names": list(env.observation_names),
        "observation_low": env.observation_low.tolist(),
        "observation_high": env.observation_high.tolist(),
        "choices": list(env.choices),
    }
