"""The learning curve of ``imagine learn``: real return against real steps."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from imagine_cli.errors import InputError
from imagine_cli.files.json_file import read_json
from imagine_cli.plots.picture import add_title, check_picture, own_style, save_picture

_LARGEST = 2**20  # bytes of a table that is read


def is_run(folder: Path) -> bool:
    """Whether a folder is one that ``imagine learn`` wrote."""
    return (folder / "learn.json").is_file()


@own_style()
def plot_learning(folder: str | Path, output: str | Path, *, overwrite: bool = False) -> None:
    """Draw the real return of each round's trial against the real steps until then.

    Args:
        folder: of ``imagine learn``.
        output: a .png, .svg, .pdf or .html file; it appears when it is complete.
        overwrite: replace a file that is there.

    Raises:
        InputError: no such folder, or one without a round, or matplotlib is missing.
    """
    folder, output = Path(folder), Path(output)
    check_picture(output, overwrite)
    from matplotlib.figure import Figure

    rounds = _rounds(folder / "learning.csv")
    request = read_json(folder / "learn.json", _LARGEST)
    title = f"{request.get('env')} by {request.get('method')}"
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*rounds, strict=True), "o-", color="C0", label="trial of each round")
    axes.plot(*rounds[0], "s", color="0.5", label="random actions", zorder=3)
    axes.set_xlabel("real steps")
    axes.set_ylabel("real return")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    add_title(figure, title, 60)
    save_picture(figure, output, title, overwrite=overwrite)


def _rounds(path: Path) -> list[tuple[int, float]]:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than any table of imagine learn")
        with open(path, newline="", encoding="utf-8") as file:
            found = [
                (int(row["real_steps"]), float(row["real_return"])) for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; has a round ended?") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a table of imagine learn: {error}") from error
    if len(found) < 2 or not all(math.isfinite(value) for _, value in found):
        raise InputError(f"{path} has no round after the random one, or a return is not finite")
    return found
