"""``imagine plot`` as one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from imagine_cli.errors import InputError
from imagine_cli.observation_names import labelled
from imagine_cli.plots.fan_chart import fan_chart
from imagine_cli.plots.fan_data import Fan, choose_dimensions, read_fan
from imagine_cli.plots.picture import check_picture, save_picture
from imagine_cli.recording import Rollout, open_rollout

__all__ = ["plot_rollout"]

_MOST_TRAJECTORIES = 4


def plot_rollout(
    rollout: str | Path,
    output: str | Path,
    *,
    real: str | Path | None = None,
    trajectories: Sequence[int] = (0,),
    dimensions: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Draw a fan chart: mean, 50 and 95 % bands, particles where kept, the real run where given.

    Args:
        rollout: a rollout file.
        output: a .png, .svg, .pdf or .html file; it appears when it is complete.
        real: a rollout file whose means go over the fans: the same starts, as
            ``imagine evaluate --record`` writes it.
        trajectories: up to 4, a column each.
        dimensions: by name or number; all (at most 24) where none are given.
        overwrite: replace a file that is there.

    Returns:
        How many dimensions were left out for want of room.

    Raises:
        InputError: files or arguments that can't be used, or matplotlib is missing.
    """
    output = Path(output)
    check_picture(output, overwrite)
    if not 1 <= len(trajectories) <= _MOST_TRAJECTORIES:
        raise InputError(f"a picture has 1 to {_MOST_TRAJECTORIES} trajectories")
    with ExitStack() as stack:
        source = stack.enter_context(open_rollout(rollout))
        over = None if real is None else stack.enter_context(open_rollout(real))
        chosen = choose_dimensions(source.observation_names, dimensions, source.path)
        fans = [read_fan(source, k, over) for k in dict.fromkeys(trajectories)]
        title = _title(source, fans)
        names = labelled(source.observation_names, source.env_id or "")
    figure = fan_chart(fans, names, chosen, title)
    save_picture(figure, output, title)
    return 0 if dimensions else len(names) - len(chosen)


def _title(rollout: Rollout, fans: list[Fan]) -> str:
    """What it is, in two lines."""
    which = f"trajectory {fans[0].trajectory} of " if len(fans) == 1 else ""
    imagined = "a real run" if rollout.attributes.get("real") else "an imagined rollout"
    facts = {
        "model": rollout.model_kind,
        "propagation": rollout.propagation,
        "policy": rollout.policy,
        "seed": rollout.seed,
    }
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, ""))
    return f"{rollout.env_id or 'an env'}: {which}{imagined}\n{said}".rstrip()
