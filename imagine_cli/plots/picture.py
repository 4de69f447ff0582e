"""A figure as a file: checked before it is drawn, whole when it appears."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from imagine_cli.errors import InputError, require
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.plots.interactive import interactive_page
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf", ".html")


@contextmanager
def own_style() -> Iterator[None]:
    """matplotlib as it comes, whatever a matplotlibrc in the current folder has it run."""
    require("plot", "matplotlib")
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def check_picture(output: Path, overwrite: bool) -> None:
    """InputError where a picture can't or mustn't be written there, or an extra is missing."""
    if output.suffix.lower() not in FORMATS:
        raise InputError(
            f"the output {output} must end in {', '.join(FORMATS)}, or, for a video of a rollout, "
            ".gif or .mp4"
        )
    check_writable(output, overwrite)
    require("plot", "matplotlib")
    if output.suffix.lower() == ".html":
        require("plotly", "plotly")


def plain(text: str) -> str:
    """As it is: a dollar sign would begin a formula, and some letters no font has."""
    return printable(text).replace("$", r"\$")


def add_title(figure: Figure, title: str, letters: int) -> None:
    """Over all panels, in lines of so many letters."""
    lines = [line for part in title.splitlines() for line in wrap(plain(part), letters)]
    figure.suptitle("\n".join(lines), fontsize="medium")


def save_picture(figure: Figure, output: Path, title: str, *, overwrite: bool) -> None:
    """Write it in the format that the name ends in. ImagineError where that fails."""
    content = _rendered(figure, output.suffix.lower(), title)
    with whole_file(output, overwrite=overwrite) as file:
        file.write(content)


def _rendered(figure: Figure, kind: str, title: str) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    title = "; ".join(map(printable, title.splitlines()))
    if kind == ".html":
        return interactive_page(figure, title.partition("; ")[0])
    metadata: dict[str, str | None] = {"Description" if kind == ".png" else "Title": title}
    if kind == ".svg":
        metadata["Date"] = None
    # Letters stay letters: to be found, read aloud, and small.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "imagine"}):
        figure.savefig(stream, format=kind[1:], metadata=metadata)
    return stream.getvalue()
