"""``imagine plot`` as one call."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.plots.fan_chart import fan_chart, require_matplotlib
from imagine_cli.plots.fan_data import choose_dimensions, read_fan
from imagine_cli.recording import Rollout, open_rollout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "plot_rollout"]

FORMATS = (".png", ".svg", ".pdf", ".html")
_MOST_DIMENSIONS = 24
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
    kind = output.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"the output {output} must end in {', '.join(FORMATS)}")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; give --force to overwrite it, or another --output")
    if not 1 <= len(trajectories) <= _MOST_TRAJECTORIES:
        raise InputError(f"a picture has 1 to {_MOST_TRAJECTORIES} trajectories")
    require_matplotlib()
    with ExitStack() as stack:
        source = stack.enter_context(open_rollout(rollout))
        over = None if real is None else stack.enter_context(open_rollout(real))
        chosen = choose_dimensions(source, dimensions, _MOST_DIMENSIONS)
        fans = [read_fan(source, k, over) for k in dict.fromkeys(trajectories)]
        title = _title(source, list(dict.fromkeys(trajectories)))
        names = source.observation_names
    figure = fan_chart(fans, names, chosen, title)
    _write(_rendered(figure, kind, title), output)
    return 0 if dimensions else len(names) - len(chosen)


def _title(rollout: Rollout, trajectories: list[int]) -> str:
    """What it is, in two lines."""
    which = f"trajectory {trajectories[0]} of " if len(trajectories) == 1 else ""
    imagined = "a real run" if rollout.attributes.get("real") else "an imagined rollout"
    facts = {
        "model": rollout.model_kind,
        "propagation": rollout.propagation,
        "policy": rollout.policy,
        "seed": rollout.seed,
    }
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, ""))
    return f"{rollout.env_id or 'an env'}: {which}{imagined}\n{said}".rstrip()


def _rendered(figure: Figure, kind: str, title: str) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    if kind in (".png", ".pdf"):
        metadata = {"Title" if kind == ".pdf" else "Description": title.replace("\n", "; ")}
        figure.savefig(stream, format=kind[1:], metadata=metadata)
        return stream.getvalue()
    # Letters stay letters: to be found, read aloud, and small.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "imagine"}):
        figure.savefig(
            stream, format="svg", metadata={"Title": title.replace("\n", "; "), "Date": None}
        )
    if kind == ".svg":
        return stream.getvalue()
    svg = stream.getvalue().decode()
    heading = html.escape(title.splitlines()[0])
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{heading}</title>\n"
        "<style>body { margin: 2em auto; max-width: 60em; font-family: sans-serif; } "
        "svg { width: 100%; height: auto; }</style>\n"
        f"</head>\n<body>\n{svg[svg.index('<svg') :]}</body>\n</html>\n"
    )
    return page.encode()


def _write(content: bytes, output: Path) -> None:
    partial = Path(f"{output}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ImagineError(f"{output} could not be written: {error.strerror}") from error
