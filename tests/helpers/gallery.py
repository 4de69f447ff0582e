"""Makes the pictures of imagine_cli/plots/README.md by running its commands, some two minutes.

``python -m tests.helpers.gallery`` writes them to tests/plots/gallery, in 32 colours, so that they
are small.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from tests.test_readme import ROOT, commands, in_a_shell

__all__ = ["GALLERY", "make_gallery"]

GALLERY = ROOT / "tests" / "plots" / "gallery"


def make_gallery(folder: Path) -> None:
    """Run the page's commands in an empty folder and keep every ``.png`` that they leave there."""
    for command in commands(ROOT / "imagine_cli" / "plots" / "README.md"):
        if in_a_shell(command, folder):
            raise subprocess.SubprocessError(command)
    for picture in folder.glob("*.png"):
        Image.open(picture).convert("RGB").quantize(32).save(GALLERY / picture.name, optimize=True)


if __name__ == "__main__":
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make_gallery(Path(folder))
