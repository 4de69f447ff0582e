"""``imagine calibrate`` as one call: what of any model's variances persists, from real data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.checkpoint import read_checkpoint, save_world_model
from imagine_cli.errors import InputError
from imagine_cli.fitting import gather
from imagine_cli.fitting.horizons import held_out_scores
from imagine_cli.fitting.model_error import fit_model_error
from imagine_cli.fitting.split import check_fraction, split
from imagine_cli.progress import Progress, Silent
from imagine_cli.world_models.interfaces import SupportsPoints


def calibrate_world_model(
    model: str | Path,
    output: str | Path,
    *,
    data: str | Path | Sequence[str | Path],
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    columns: str | None = None,
    allow_imagined: bool = False,
    seed: int = 0,
    held_out: float = 0.2,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find what of a model's variances persists along a trajectory, and write it with the model.

    Args:
        model: a world model's file, of any kind; what it said of this before is left out.
        output: the file.
        data, columns, allow_imagined: transitions of the real env that the model has not seen, as
            :func:`~imagine_cli.fitting.fit_world_model` takes them.
        env_id, env_kwargs: of which env, where neither the data nor the model say it.
        seed: of which stretches are held out.
        held_out: the part of the data that is scored on.
        overwrite: replace a file that is there.
        progress: told of what goes on.

    Returns:
        The metadata that were written, with ``model_error`` and ``held_out_scores``.

    Raises:
        InputError: a model or data that can't be used, or data of another env.
        ImagineError: the disk refused.
    """
    progress = progress or Silent()
    checkpoint = read_checkpoint(model)
    module = checkpoint.model()
    if not isinstance(module, SupportsPoints):
        raise InputError(f"{model} can't be asked at points, and so not be calibrated")
    module.config()  # which refuses what can't be written
    module.model_error = None
    known = checkpoint.env
    sources = [data] if isinstance(data, str | Path) else data
    found = gather.read(
        sources, env_id or known.get("id"), env_kwargs or known.get("kwargs"), reward=False,
        steps=None, columns=columns, allow_imagined=allow_imagined, progress=progress,
    )  # fmt: skip
    transitions = found.transitions
    sizes = found.env.observation_size, found.env.action_size
    if sizes != (module.observation_size, module.action_size):
        raise InputError(
            f"{model} is for {module.observation_size} observations and {module.action_size} "
            f"actions, and {found.env.id} has {sizes[0]} and {sizes[1]}"
        )
    check_fraction(held_out, len(transitions))
    parts = split(transitions, held_out, seed)
    rows = np.setdiff1d(np.arange(len(transitions)), parts.held_out_rows)
    error, summary = fit_model_error(module, transitions, rows, progress)
    module.model_error = error
    metadata = {
        **checkpoint.metadata,
        "model_error": summary,
        "calibrated_on": [dict(source) for source in found.sources],
        "held_out_scores": held_out_scores(
            module, transitions, parts, found.env, seed=seed, progress=progress
        ),
    }
    progress.finish()
    save_world_model(module, output, env=known or found.env, metadata=metadata, overwrite=overwrite)
    return metadata
